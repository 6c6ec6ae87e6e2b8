//! Distillation from a teacher's stored log-probabilities: at each position its k likeliest tokens, all others counting as one
//! outcome. With q the teacher's probabilities, p the student's, r and s what each leaves to the others:
//! KL = sum over the k of q (log q - log p) + r (log r - log s), which is zero where the two agree and needs no [n, V].

use burn::Tensor;
use burn::tensor::TensorData;

use crate::device::on_flex;
use crate::given::given;
use crate::lanes::exp;
use crate::linear::Linear;
use crate::logits::{Ask, Logits, Slope};
use crate::plain;
use crate::softmax::{Norm, Sums};
use crate::top_k::TopK;

/// The `k` likeliest tokens of each of `hidden` [n, D] under the head `table` [V, D], lower ids before equals. No autodiff.
pub fn head_top_k(hidden: Tensor<2>, table: &Linear, k: usize) -> TopK {
    let [n_vocab, width] = table.weight().dims();
    assert_eq!(hidden.dims()[1], width, "the hidden states' width must be the table's");
    assert!((1..n_vocab).contains(&k), "k must be at least 1 and below the vocabulary size {n_vocab}");
    let likeliest = Likeliest(k);
    let rows = if on_flex(&hidden) {
        Logits::new(&hidden, table).reduce(&likeliest)
    } else {
        let mut logits: Vec<f32> = table.apply(hidden).into_data().try_into_vec().expect("logits are f32");
        let rows = logits.chunks_exact_mut(n_vocab).enumerate();
        rows.map(|(row, logits)| (Sums::of(logits), likeliest.of_part(row, logits, 0).1)).collect()
    };
    let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
    for (sums, likeliest) in rows {
        let norm = sums.norm();
        tokens.extend(likeliest.iter().map(|it| it.0));
        logprobs.extend(likeliest.iter().map(|it| norm.logprob(it.1)));
    }
    TopK::new(k, &tokens, &logprobs).expect("distinct tokens of one distribution")
}

/// Asks for so many tokens of a row.
struct Likeliest(usize);

impl Likeliest {
    fn of(&self, mut all: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
        all.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(self.0);
        all
    }
}

impl Ask for Likeliest {
    /// Sums over the logits, and the highest with their tokens.
    type Of = (Sums, Vec<(u32, f32)>);

    #[inline(always)]
    fn of_part(&self, _: usize, logits: &mut [f32], first: usize) -> Self::Of {
        (Sums::of_part(logits), self.of((first as u32..).zip(logits.iter().copied()).collect()))
    }

    fn plus(&self, all: Self::Of, part: Self::Of) -> Self::Of {
        (all.0.plus(part.0), self.of([all.1, part.1].concat()))
    }
}

/// The weighted sum of divergences of the head's distributions from the teacher's, [1], and each of them: KL(teacher, student)
/// over the k tokens and the others as one, nats. `hidden` is [n, D], `table` [V, D] with V above k, `weights` [n].
pub fn distillation_loss(hidden: Tensor<2>, table: &Linear, teacher: &TopK, weights: &[f32]) -> (Tensor<1>, Vec<f32>) {
    let ([n_rows, width], [n_vocab, table_width]) = (hidden.dims(), table.weight().dims());
    assert_eq!(width, table_width, "the hidden states' width must be the table's");
    assert_eq!(
        [n_rows; 2],
        [teacher.n_positions(), weights.len()],
        "a teacher's position and a weight per hidden state"
    );
    assert!(teacher.n_each() < n_vocab, "k must be below the vocabulary size {n_vocab}");
    assert!(
        teacher.tokens().iter().all(|it| (*it as usize) < n_vocab),
        "tokens must be below the vocabulary size {n_vocab}"
    );
    assert!(hidden.is_autodiff(), "a loss is for training");
    if on_flex(&hidden) {
        let mut student = Student { teacher, weights, divergences: Vec::new() };
        let (d_hidden, d_table) = Logits::new(&hidden, table).descend(&mut student);
        let divergences = student.divergences;
        let value = divergences.iter().zip(weights).map(|(it, weight)| it * weight).sum();
        return (given(value, [&hidden, table.weight()], [d_hidden, d_table]), divergences);
    }
    let each = plain::distillation(table.apply(hidden), teacher);
    let divergences = each.clone().inner().into_data().try_into_vec().expect("divergences are f32");
    let weights = TensorData::new(weights.to_vec(), [n_rows]);
    let weights = Tensor::<1>::from_data(weights, &each.device().inner()).autodiff();
    ((each * weights).sum(), divergences)
}

/// What the student is compared with.
struct Student<'a> {
    teacher: &'a TopK,
    weights: &'a [f32],
    divergences: Vec<f32>,
}

impl Student<'_> {
    /// Where the teacher's tokens stand among `n` logits from column `first` on, and which of its k they are.
    #[inline(always)]
    fn here(
        &self,
        row: usize,
        first: usize,
        n: usize,
    ) -> (impl Iterator<Item = usize> + Clone, std::ops::Range<usize>) {
        let (tokens, _) = self.teacher.at(row);
        let from = tokens.partition_point(|it| (*it as usize) < first);
        let end = tokens.partition_point(|it| (*it as usize) < first + n);
        (tokens[from..end].iter().map(move |it| *it as usize - first), from..end)
    }
}

impl Ask for Student<'_> {
    /// Sums over the others' logits, and the logits of the k.
    type Of = (Sums, Vec<f32>);

    #[inline(always)]
    fn of_part(&self, row: usize, logits: &mut [f32], first: usize) -> Self::Of {
        let (here, _) = self.here(row, first, logits.len());
        let of_k: Vec<f32> = here.clone().map(|at| std::mem::replace(&mut logits[at], Sums::NOTHING)).collect();
        let others = Sums::of_part(logits);
        here.zip(&of_k).for_each(|(at, z)| logits[at] = *z);
        (others, of_k)
    }

    fn plus(&self, all: Self::Of, part: Self::Of) -> Self::Of {
        (all.0.plus(part.0), [all.1, part.1].concat())
    }
}

impl Slope for Student<'_> {
    /// Norms of all logits and of the others', and what the teacher leaves to those.
    type At = (Norm, Norm, f32);

    fn at(&mut self, row: usize, (others, of_k): Self::Of) -> Option<Self::At> {
        let all = of_k.iter().fold(others, |sums, z| sums.plus(Sums::of_part(&[*z]))).norm();
        let (others, left) = (others.norm(), self.teacher.others(row));
        let cross: f32 = self.teacher.at(row).1.iter().zip(&of_k).map(|(q, z)| q.exp() * all.logprob(*z)).sum();
        let of_others = if left > 0.0 { left * (others.log_sum() - all.log_sum()) } else { 0.0 };
        self.divergences.push(self.teacher.negentropy(row) - cross - of_others);
        (self.weights[row] != 0.0).then_some((all, others, left))
    }

    /// By a logit among the k it is p - q, by another p - r (p / s).
    #[inline(always)]
    fn replace(&self, row: usize, (all, others, left): &Self::At, logits: &mut [f32], first: usize) {
        let (weight, (here, which)) = (self.weights[row], self.here(row, first, logits.len()));
        let of_k: Vec<f32> = here.clone().map(|at| logits[at]).collect();
        for z in logits.iter_mut() {
            *z = weight * (exp(all.logprob(*z)) - left * exp(others.logprob(*z)));
        }
        for ((at, z), q) in here.zip(of_k).zip(&self.teacher.at(row).1[which]) {
            logits[at] = weight * (exp(all.logprob(z)) - q.exp());
        }
    }
}
