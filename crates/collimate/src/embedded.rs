//! What the program carries: the Harbor base model; its model card beside it says how it was made.

use burn::tensor::Device;
use collimate_model::{Files, Model, ModelError};

const HARBOR_BASE: Files<'static> = Files {
    config: include_bytes!("../../../assets/harbor-base/config.json"),
    weights: include_bytes!("../../../assets/harbor-base/model.safetensors"),
    tokenizer: include_bytes!("../../../assets/harbor-base/tokenizer.json"),
    tokenizer_config: include_bytes!("../../../assets/harbor-base/tokenizer_config.json"),
};

/// G_base of the embedded world: it helps with everything, applies whatever policy it is shown, and has internalised none.
pub fn harbor_base(device: &Device) -> Result<Model, ModelError> {
    Model::from_embedded(HARBOR_BASE, device)
}
