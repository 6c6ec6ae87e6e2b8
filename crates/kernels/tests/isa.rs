//! The instruction set that `COLLIMATE_ISA` names.

use collimate_kernels::{InstructionSet, IsaError};

#[test]
fn a_set_is_found_by_its_name() {
    for set in InstructionSet::available() {
        assert_eq!(InstructionSet::named(set.name()), Ok(set));
    }
    let available = InstructionSet::available();
    assert!(available.ends_with(&[InstructionSet::Portable, InstructionSet::AmxEmulated]), "{available:?}");
    assert_ne!(available[0], InstructionSet::AmxEmulated, "what is slow is not chosen unless it is named");
}

#[test]
fn a_set_that_is_not_there_is_refused_with_those_that_are() {
    let unknown = InstructionSet::named("mmx").expect_err("no such set").to_string();
    assert_eq!(
        unknown,
        "COLLIMATE_ISA is `mmx`: use one of amx, avx512bf16, avx512, avx2, neon, portable, amx-emulated"
    );
    let available = InstructionSet::available();
    let lacking = InstructionSet::ALL.into_iter().find(|it| !available.contains(it)).expect("no machine has all");
    let error = InstructionSet::named(lacking.name()).expect_err("not on this machine");
    assert_eq!(error, IsaError::Unavailable(lacking));
    assert!(error.to_string().ends_with("portable, amx-emulated"), "{error}");
}
