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
        let shape = matrix.dims();
        Values(match matrix.clone().into_dispatch().kind {
            DispatchTensorKind::Flex(it) => it.float().to_contiguous(),
            #[allow(unreachable_patterns)] // Flex is the only device of the default build
            _ => tensor(matrix.to_data().try_into_vec().expect("weights are f32"), shape),
        })
    }

    /// All of them.
    pub fn as_slice(&self) -> &[f32] {
        self.0.storage()
    }
}
