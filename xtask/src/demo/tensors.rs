//! Reads the weights that the coordinator keeps: safetensors files of 32-bit floats.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// All tensors of a file as one vector, in ascending order of their names: the order of updates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensors {
    /// Name, where it starts in `values`, dimensions.
    index: Vec<(String, usize, Vec<usize>)>,
    values: Vec<f32>,
}

/// What the header says about a tensor.
#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

impl Tensors {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is not a safetensors file of 32-bit floats.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let (length, rest) = bytes.split_first_chunk::<8>().context("it has no header")?;
        let length = usize::try_from(u64::from_le_bytes(*length))?;
        let header = rest.get(..length).context("its header is cut off")?;
        let data = &rest[length..];
        let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)?;
        let mut tensors = Self {
            index: Vec::new(),
            values: Vec::new(),
        };
        for (name, entry) in header {
            if name == "__metadata__" {
                continue;
            }
            let entry: Entry = serde_json::from_value(entry)?;
            ensure!(
                entry.dtype == "F32",
                "{name} is of {}, not of F32",
                entry.dtype
            );
            let [start, end] = entry.data_offsets;
            let data = data
                .get(start..end)
                .with_context(|| format!("{name} is cut off"))?;
            let (floats, rest) = data.as_chunks::<4>();
            if !rest.is_empty() || floats.len() != entry.shape.iter().product::<usize>() {
                bail!("{name} does not fill its shape");
            }
            tensors
                .index
                .push((name, tensors.values.len(), entry.shape));
            tensors
                .values
                .extend(floats.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        }
        Ok(tensors)
    }

    /// Numbers in all tensors.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// All numbers.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Where a tensor starts, and its dimensions.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &[usize])> {
        let found = self.index.iter().find(|(found, ..)| found == name);
        found.map(|(_, offset, shape)| (*offset, &shape[..]))
    }
}

/// Writes a file for tests.
#[cfg(test)]
pub(crate) fn write(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = serde_json::json!(
            { "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }
        );
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        write(&path, &[("b", &[2, 1], &[1.0, 2.0]), ("a", &[1], &[3.0])]);
        let tensors = Tensors::read(&path).unwrap();
        assert_eq!(tensors.values(), [3.0, 1.0, 2.0]);
        assert_eq!(tensors.find("b"), Some((1, &[2, 1][..])));
        assert_eq!(tensors.find("c"), None);
        assert_eq!(tensors.len(), 3);
    }

    #[test]
    fn damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        write(&path, &[("a", &[2], &[1.0, 2.0])]);
        let whole = fs::read(&path).unwrap();
        for (bytes, reason) in [
            (&whole[..5], "no header"),
            (&whole[..20], "header is cut off"),
            (&whole[..whole.len() - 1], "a is cut off"),
        ] {
            let error = format!("{:#}", Tensors::parse(bytes).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
        write(&path, &[("a", &[3], &[1.0, 2.0])]);
        let error = format!("{:#}", Tensors::read(&path).unwrap_err());
        assert!(error.contains("does not fill its shape"), "{error}");
    }
}
