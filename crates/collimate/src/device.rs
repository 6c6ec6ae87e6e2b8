//! Where tensors live and are computed with, as it is named on the command line. A build knows the processor and the devices
//! of its cargo features.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
#[cfg(any(feature = "metal", feature = "vulkan"))]
use burn::tensor::DeviceKind;
use serde::{Serialize, Serializer};

/// A device that this build can compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// `cpu`: the processor.
    #[default]
    Cpu,
    /// `cuda:N`: an NVIDIA GPU by its number; `cuda` is the first.
    #[cfg(feature = "cuda")]
    Cuda(usize),
    /// `vulkan:N`: a discrete GPU by its number; `vulkan` is the best GPU there is.
    #[cfg(feature = "vulkan")]
    Vulkan(Option<usize>),
    /// `metal`: the GPU of a Mac.
    #[cfg(feature = "metal")]
    Metal,
}

/// What can be named; all but the first need a cargo feature of the same name.
const KNOWN: [&str; 4] = ["cpu", "cuda", "vulkan", "metal"];

impl DeviceName {
    /// The device itself. Nothing is asked of it yet: a GPU that is not there is missed at its first tensor.
    pub fn device(self) -> Device {
        match self {
            DeviceName::Cpu => Device::flex(),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda(index) => Device::cuda(index),
            #[cfg(feature = "vulkan")]
            DeviceName::Vulkan(index) => {
                Device::vulkan(index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu))
            }
            #[cfg(feature = "metal")]
            DeviceName::Metal => Device::metal(DeviceKind::DefaultDevice),
        }
    }

    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        *self == DeviceName::Cpu
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(name: &str) -> Result<DeviceName, String> {
        let (kind, index) = match name.split_once(':') {
            Some((kind, index)) => (kind, Some(index)),
            None => (name, None),
        };
        if !KNOWN.contains(&kind) {
            return Err("no such device: use cpu, cuda, cuda:N, vulkan, vulkan:N or metal".to_owned());
        }
        let index: Option<usize> = match index.map(str::parse) {
            Some(Ok(index)) => Some(index),
            Some(Err(_)) => return Err(format!("after the colon stands a number from 0, as in {kind}:0")),
            None => None,
        };
        match (kind, index) {
            ("cpu" | "metal", Some(_)) => Err(format!("there is one of it: write {kind}")),
            ("cpu", None) => Ok(DeviceName::Cpu),
            #[cfg(feature = "cuda")]
            ("cuda", index) => Ok(DeviceName::Cuda(index.unwrap_or(0))),
            #[cfg(feature = "vulkan")]
            ("vulkan", index) => Ok(DeviceName::Vulkan(index)),
            #[cfg(feature = "metal")]
            ("metal", None) => Ok(DeviceName::Metal),
            _ => Err(format!("built without the `{kind}` feature: cargo build --release --features {kind}")),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Cpu => f.write_str("cpu"),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda(index) => write!(f, "cuda:{index}"),
            #[cfg(feature = "vulkan")]
            DeviceName::Vulkan(Some(index)) => write!(f, "vulkan:{index}"),
            #[cfg(feature = "vulkan")]
            DeviceName::Vulkan(None) => f.write_str("vulkan"),
            #[cfg(feature = "metal")]
            DeviceName::Metal => f.write_str("metal"),
        }
    }
}

impl Serialize for DeviceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a run folder must agree with, and the device if it is not the processor: another one's sums differ in their last bits.
#[derive(Serialize)]
pub struct On<T> {
    /// The rest of it.
    #[serde(flatten)]
    pub config: T,
    /// Where it is computed.
    #[serde(skip_serializing_if = "DeviceName::is_cpu")]
    pub device: DeviceName,
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(name: &str, expected: Expect) {
        let text = match name.parse::<DeviceName>() {
            Ok(device) => {
                assert_eq!(device.to_string().parse(), Ok(device), "what is printed is read back");
                device.to_string()
            }
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_processor_is_in_every_build() {
        check("cpu", expect!["cpu"]);
        check("cpu:0", expect!["error: there is one of it: write cpu"]);
        assert_eq!(DeviceName::default(), DeviceName::Cpu);
    }

    #[test]
    fn other_names_are_errors_that_say_what_to_write() {
        for name in ["", "gpu", "CPU", "cuda0", " cpu", ":0"] {
            check(name, expect!["error: no such device: use cpu, cuda, cuda:N, vulkan, vulkan:N or metal"]);
        }
        for name in ["vulkan:", "vulkan:x", "vulkan:-1", "vulkan:0:1"] {
            check(name, expect!["error: after the colon stands a number from 0, as in vulkan:0"]);
        }
        check("metal:1", expect!["error: there is one of it: write metal"]);
    }

    #[test]
    fn a_device_is_known_with_its_feature_and_without_it_the_error_names_it() {
        let cases = [
            ("cuda", "cuda:0", cfg!(feature = "cuda")),
            ("cuda:1", "cuda:1", cfg!(feature = "cuda")),
            ("vulkan", "vulkan", cfg!(feature = "vulkan")),
            ("vulkan:1", "vulkan:1", cfg!(feature = "vulkan")),
            ("metal", "metal", cfg!(feature = "metal")),
        ];
        for (name, printed, built) in cases {
            let feature = name.split(':').next().unwrap_or(name);
            let missing = format!("built without the `{feature}` feature: cargo build --release --features {feature}");
            let expected = if built { Ok(printed.to_owned()) } else { Err(missing) };
            assert_eq!(name.parse::<DeviceName>().map(|it| it.to_string()), expected, "{name}");
        }
    }

    #[test]
    fn on_the_processor_a_run_is_what_it_was_without_devices() {
        let config = crate::recipes::pretrain::tiny();
        let on = On { config: &config, device: DeviceName::Cpu };
        assert_eq!(collimate_schema::Hash::of_json(&on), collimate_schema::Hash::of_json(&config));
    }
}
