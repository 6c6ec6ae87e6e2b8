//! Which body runs: Flex has fused passes, every other device takes the plain one.

use burn::Tensor;
use burn::backend::DispatchDevice;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, TensorData};

/// Whether `x` lives on Flex, with or without autodiff.
pub(crate) fn on_flex<const D: usize>(x: &Tensor<D>) -> bool {
    let device = x.device();
    let device = match device.as_dispatch() {
        DispatchDevice::Autodiff(device) => device,
        plain => plain,
    };
    matches!(device, DispatchDevice::Flex(_))
}

/// A Flex tensor that owns `values`, row-major.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
