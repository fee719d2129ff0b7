//! The place for what the figures must do in a browser: a player that steps, a word that shows its arrow. Nothing is checked yet.
//!
//! Each check finds the page on the notebook [`super::MODEL`], all of its cells run. To add one, write a function of the page and
//! name it in [`CHECKS`]. What it may use: [`Page::script`] for a look at the document (`panel` is the open notebook, and a cell's
//! outputs are in `.jp-OutputArea-output`).

use anyhow::Result;

use super::lab::Page;

/// What is checked, and how.
type Figure = fn(&Page<'_>) -> Result<()>;

/// All checks of figures.
pub(super) const CHECKS: &[(&str, Figure)] = &[];
