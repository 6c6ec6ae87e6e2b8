//! Deliberative alignment from one program: recipes, and the command line that runs them.
//!
//! [`recipes`] tell the methods as stories, [`worlds`] give them something to work on; [`commands`] give each a name on the command line; [`config`] reads what a user
//! changes of a recipe; [`output`] and [`progress`] are the only code that prints.

pub mod bench;
pub mod cli;
pub mod commands;
pub mod config;
pub mod device;
pub mod embedded;
pub mod files;
pub mod material;
pub mod output;
pub mod precision;
pub mod progress;
pub mod ranges;
pub mod recipes;
pub mod threads;
pub mod worlds;
