//! A tensor's values as plain numbers.

use burn::Tensor;
use burn::backend::DispatchTensorKind;
use burn::backend::flex::FlexTensor;

use crate::device::tensor;

/// The values of a matrix, row by row: on Flex the tensor's own memory, from elsewhere a copy.
#[derive(Clone, Debug)]
pub struct Values(FlexTensor);

impl Values {
    /// Of `matrix`, without autodiff.
    pub fn of(matrix: &Tensor<2>) -> Values {
        let copied = || tensor(matrix.to_data().try_into_vec().expect("weights are f32"), matrix.dims());
        Values::in_place(matrix).unwrap_or_else(|| Values(copied()))
    }

    /// The tensor's own memory, if that is where this program can read it.
    pub fn in_place(matrix: &Tensor<2>) -> Option<Values> {
        match matrix.clone().into_dispatch().kind {
            DispatchTensorKind::Flex(it) => Some(Values(it.float().to_contiguous())),
            #[allow(unreachable_patterns)] // Flex is the only device of the default build
            _ => None,
        }
    }

    /// All of them.
    pub fn as_slice(&self) -> &[f32] {
        self.0.storage()
    }
}
