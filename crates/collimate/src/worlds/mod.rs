//! Worlds: makers of [`Material`](crate::material::Material).

pub mod harbor;
