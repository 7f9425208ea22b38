//! What the fuzz targets run. The ordinary tests run the same over the corpus.
pub mod checks;
