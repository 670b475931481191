#![no_main]
//! Files of weights (safetensors), as coordinator and nodes read and write them.

use libfuzzer_sys::fuzz_target;
use secagg_learning::Shapes;

fuzz_target!(|bytes: &[u8]| {
    let Ok(shapes) = Shapes::read(bytes) else {
        return;
    };
    if let Ok(flat) = shapes.flat(bytes) {
        assert_eq!(flat.len(), shapes.parameters() as usize);
        let written = shapes
            .file(&flat, bytes)
            .expect("weights of its own shapes");
        assert_eq!(Shapes::read(&written).ok().as_ref(), Some(&shapes));
        let again = shapes.flat(&written).expect("what was written is read");
        assert!(
            flat.iter()
                .zip(&again)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }
});
