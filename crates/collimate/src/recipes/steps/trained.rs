//! A model that a step made: on disk, and in memory only while it is needed.

use std::path::PathBuf;

use collimate_model::Model;
use collimate_run::{Artifact, ArtifactId};

/// A trained model.
#[derive(Clone, Debug)]
pub(crate) struct Trained {
    /// Its id, with which its rollouts are signed.
    pub id: ArtifactId,
    dir: PathBuf,
}

impl Trained {
    /// The model that a stage of this artefact stored.
    pub(crate) fn at(stored: Artifact<PathBuf>) -> Trained {
        Trained { id: stored.id, dir: stored.value.join(MODEL) }
    }

    /// Reads it, to be computed with as `like` is.
    pub(crate) fn load(&self, like: &Model) -> anyhow::Result<Model> {
        Ok(Model { compute: like.compute, ..Model::load(&self.dir, &like.weights.device())? })
    }
}

/// The checkpoint directory within a stage's folder.
pub(crate) const MODEL: &str = "model";
