//! A model that nobody trains: the coordinator treats the description as opaque.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use safetensors::{SafeTensors, tensor::TensorView};

/// Writes the three files of a model with `parameters` weights into a folder.
///
/// The tensors are listed in another order than that of their names, and are of several shapes.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, parameters: usize) -> Result<()> {
    ensure!(parameters >= 8, "a model of fewer than 8 weights");
    fs::create_dir_all(folder)?;
    fs::write(folder.join("model.toml"), "kind = \"opaque\"\n")?;
    let vocabulary = "<pad>\n<unk>\n<begin>\n<end>\nsee\nyou\n";
    fs::write(folder.join("vocabulary.txt"), vocabulary)?;
    let matrix = parameters / 2;
    let shapes = [
        ("output.weight", vec![matrix / 2, 2]),
        ("embedding", vec![parameters - matrix / 2 * 2 - 3]),
        ("output.bias", vec![3]),
    ];
    let mut bytes = Vec::new();
    for (name, shape) in &shapes {
        let data: Vec<u8> = (0..shape.iter().product::<usize>())
            .flat_map(|index| initial(name, index).to_le_bytes())
            .collect();
        bytes.push((name.to_string(), shape.clone(), data));
    }
    let mut tensors = Vec::new();
    for (name, shape, data) in &bytes {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), data)?;
        tensors.push((name.as_str(), view));
    }
    let file = folder.join("initial.safetensors");
    fs::write(file, safetensors::serialize(tensors, None)?)?;
    Ok(())
}

/// One tensor as it lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row by row.
    pub values: Vec<f32>,
}

/// Reads a file of weights: the tensors by name.
///
/// # Errors
/// When the file is missing or holds anything else than f32.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(&bytes)?.iter() {
        ensure!(
            view.dtype() == safetensors::Dtype::F32,
            "{name} is {:?}",
            view.dtype()
        );
        let (elements, rest) = view.data().as_chunks::<4>();
        ensure!(rest.is_empty(), "{name} ends within an element");
        let tensor = Tensor {
            shape: view.shape().to_vec(),
            values: elements.iter().copied().map(f32::from_le_bytes).collect(),
        };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// The flat vector that travels: all tensors in the order of their names.
#[must_use]
pub fn flat(tensors: &BTreeMap<String, Tensor>) -> Vec<f32> {
    let values = tensors.values().flat_map(|tensor| &tensor.values);
    values.copied().collect()
}

/// Different in every tensor, so that a mix-up of their order is seen.
fn initial(name: &str, index: usize) -> f32 {
    let letters: u16 = name.bytes().map(u16::from).sum();
    let small = u16::try_from(index % 1000).unwrap_or(0);
    f32::from(small) / 1000.0 + f32::from(letters % 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_the_size_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for parameters in [8, 9, 100, 1001] {
            write(folder.path(), parameters).unwrap();
            let tensors = read(&folder.path().join("initial.safetensors")).unwrap();
            assert_eq!(flat(&tensors).len(), parameters);
            assert_eq!(tensors.len(), 3);
        }
    }
}
