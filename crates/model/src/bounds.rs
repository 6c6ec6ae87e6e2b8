//! Whether weights can be computed with: a tensor of zeros says nothing, and numbers that are too large leave the range of f32
//! on some input. No input is tried: by the inequality of Cauchy and Schwarz, a row w of a matrix gives at most |w| |x|, and
//! what a norm leaves is at most sqrt(D) long times its largest factor. What holds for every input then follows layer by
//! layer; the models that people train stay many orders of magnitude below.

use rayon::prelude::*;

use crate::{Param, Role, Shape, TensorsError};

/// Refuses `values`, those of [`Shape::parameters`] in their order, with which some forward pass would not be finite.
pub(crate) fn check(shape: &Shape, parameters: &[Param], values: &[Vec<f32>]) -> Result<(), TensorsError> {
    let sized = |(param, values): (&Param, &Vec<f32>)| {
        let size = Size::of(values, param.rows_and_columns()[1]);
        if size.largest > 0.0 || param.role == Role::Bias {
            Ok(size)
        } else {
            Err(TensorsError::Zeros(param.name.clone()))
        }
    };
    let sizes = parameters.iter().zip(values).map(sized).collect::<Result<Vec<_>, _>>()?;
    let size = |param: &Param| {
        let index = parameters.binary_search_by(|it| it.name.cmp(&param.name));
        sizes[index.expect("one of the parameters, which are sorted")]
    };
    let root = |n: usize| (n as f64).sqrt();
    let (width, heads) = (root(shape.width), shape.heads);
    let table = size(&shape.table());
    // The largest number of the residual stream; RMSNorm sums its squares.
    let mut stream = table.largest;
    let fits = |it: f64| it < f64::from(f32::MAX) / 1e3; // room for what rounding adds
    let stream_fits = |stream: f64| fits((stream * width).powi(2));
    for layer in (0..shape.n_layers).map(|it| shape.layer(it)) {
        let made = |matrix: &[Param], bias: &Option<Vec<Param>>, index: usize, length: f64| {
            let bias = bias.as_ref().map_or(0.0, |it| size(&it[index]).largest);
            size(&matrix[index]).longest_row * length + bias
        };
        let normed = width * size(&layer.attention_norm[0]).largest;
        let [mut query, mut key, value] = [0, 1, 2].map(|it| made(&layer.qkv, &layer.qkv_bias, it, normed));
        let heads_fit = [query, key].into_iter().all(|it| fits(it * it * heads.width as f64));
        if let Some([query_norm, key_norm]) = &layer.head_norms {
            [query, key] = [query_norm, key_norm].map(|it| root(heads.width) * size(&it[0]).largest);
        }
        let scores = heads.width as f64 * query * key;
        stream += made(&layer.out, &layer.out_bias, 0, root(heads.out_width()) * value);

        let normed = width * size(&layer.ffn_norm[0]).largest;
        let [gate, up] = [0, 1].map(|it| made(&layer.gate_up, &layer.gate_up_bias, it, normed));
        stream += made(&layer.down, &layer.down_bias, 0, root(shape.ffn_width) * gate * up);
        let all_fit = [query, key, value, scores, gate * up].into_iter().all(fits);
        if !all_fit || !stream_fits(stream) || (layer.head_norms.is_some() && !heads_fit) {
            let params = layer.parts().into_iter().flatten().cloned().collect();
            return Err(huge(&[vec![shape.table()], params].concat(), size));
        }
    }
    let (head, norm) = (shape.head().unwrap_or(shape.table()), size(&shape.norm()));
    let logits_fit = fits(size(&head).longest_row * width * norm.largest);
    if logits_fit { Ok(()) } else { Err(huge(&[head, shape.norm()], size)) }
}

/// Blames the one of `params` that holds the largest number.
fn huge(params: &[Param], size: impl Fn(&Param) -> Size) -> TensorsError {
    let largest = params.iter().max_by(|a, b| size(a).largest.total_cmp(&size(b).largest)).expect("some parameters");
    TensorsError::Huge { name: largest.name.clone(), found: size(largest).largest as f32 }
}

/// How large the numbers of a tensor are, without their signs.
#[derive(Clone, Copy)]
struct Size {
    largest: f64,
    longest_row: f64,
}

impl Size {
    fn of(values: &[f32], n_columns: usize) -> Size {
        let of_row = |row: &[f32]| {
            let mut squares = [0.0_f64; 8]; // lanes, which are added side by side
            for run in row.chunks(squares.len()) {
                squares.iter_mut().zip(run).for_each(|(sum, it)| *sum += f64::from(*it) * f64::from(*it));
            }
            // Without signs, numbers have the order of their bits.
            let largest = row.iter().fold(0, |largest: u32, it| largest.max(it.abs().to_bits()));
            Size { largest: f32::from_bits(largest).into(), longest_row: squares.iter().sum::<f64>().sqrt() }
        };
        let of_both = |a: Size, b: Size| Size {
            largest: a.largest.max(b.largest),
            longest_row: a.longest_row.max(b.longest_row),
        };
        let rows = values.par_chunks(n_columns).with_min_len((1 << 16) / n_columns + 1);
        rows.map(of_row).reduce(|| Size { largest: 0.0, longest_row: 0.0 }, of_both)
    }
}
