use super::*;
use crate::model::{CnnSizes, MlpSizes, every_kind, every_kind_of_images};
use crate::model::{EncoderDecoderSizes, StackSizes, TransformerSizes};

fn description(vocabulary: u32, units: u32, output_bias: bool) -> ModelDescription {
    let sizes = Sizes {
        vocabulary,
        embedding: 96,
        units,
        output_bias,
    };
    ModelDescription::cifg_lstm(sizes, 7).unwrap()
}

fn sizes(embedding: u32, units: u32) -> Sizes {
    Sizes {
        vocabulary: 5000,
        embedding,
        units,
        output_bias: true,
    }
}

const STACK: StackSizes = StackSizes {
    vocabulary: 100,
    embedding: 24,
    units: 32,
    layers: 2,
    output_bias: true,
};

const TRANSFORMER: TransformerSizes = TransformerSizes {
    vocabulary: 1000,
    embedding: 64,
    layers: 3,
    heads: 4,
    feed_forward: 256,
    context: 32,
    output_bias: true,
};

const ENCODER_DECODER: EncoderDecoderSizes = EncoderDecoderSizes {
    vocabulary: 100,
    embedding: 64,
    encoder_layers: 2,
    decoder_layers: 3,
    heads: 4,
    feed_forward: 256,
    context: 32,
    output_bias: true,
};

const CNN: CnnSizes = CnnSizes {
    vocabulary: 14,
    kernel: 5,
    first_filters: 32,
    second_filters: 64,
    units: 512,
};

#[test]
fn the_papers_setting_has_1_412_250_parameters() {
    assert_eq!(description(10_000, 670, false).parameters(), 1_412_250);
}

#[test]
fn the_small_setting_has_657_800_parameters() {
    assert_eq!(description(5000, 256, true).parameters(), 657_800);
}

#[test]
fn parameters_are_counted_for_each_kind() {
    let words = 5000 * 96 + 5000;
    for (architecture, expected) in [
        (
            Architecture::Lstm(sizes(96, 256)),
            words + 4 * 256 * (96 + 96 + 1) + 256 * 96,
        ),
        (
            Architecture::Gru(sizes(96, 256)),
            words + 3 * 256 * (96 + 256 + 1) + 256 * 96,
        ),
        (
            Architecture::TanhRnn(STACK),
            100 * 25 + 32 * (24 + 32 + 1) + 32 * (32 + 32 + 1) + 24 * 32,
        ),
        (
            Architecture::Transformer(TRANSFORMER),
            1000 * 65 + 3 * (4 * 64 * 64 + 2 * 64 * 256 + 4 * 64) + 2 * 64,
        ),
        (
            Architecture::EncoderDecoder(ENCODER_DECODER),
            100 * 65
                + 2 * (4 * 64 * 64 + 2 * 64 * 256 + 4 * 64)
                + 3 * (8 * 64 * 64 + 2 * 64 * 256 + 6 * 64)
                + 4 * 64,
        ),
        (
            Architecture::Mlp(MlpSizes {
                vocabulary: 14,
                units: 200,
                layers: 2,
            }),
            // The "2NN" of McMahan et al. 2017, section 3.
            199_210,
        ),
        (
            Architecture::Cnn(CNN),
            // Their CNN.
            1_663_370,
        ),
    ] {
        let description = ModelDescription::new(architecture, 1).unwrap();
        assert_eq!(description.parameters(), expected, "{architecture:?}");
    }
}

#[test]
fn names_are_in_ascending_order_without_dots() {
    for architecture in every_kind().into_iter().chain(every_kind_of_images()) {
        let description = ModelDescription::new(architecture, 1).unwrap();
        let names: Vec<_> = description
            .shapes()
            .iter()
            .map(|shape| &shape.name)
            .collect();
        assert!(
            names.windows(2).all(|pair| pair[0] < pair[1]),
            "{architecture:?}: {names:?}"
        );
        assert!(names.iter().all(|name| !name.contains('.')), "{names:?}");
    }
}

#[test]
fn toml_and_description_are_the_same_thing() {
    let all = every_kind().into_iter().chain(every_kind_of_images());
    let architectures = all.chain([
        Architecture::CifgLstm(sizes(96, 256)),
        Architecture::TanhRnn(STACK),
        Architecture::Transformer(TRANSFORMER),
        Architecture::EncoderDecoder(ENCODER_DECODER),
    ]);
    for architecture in architectures {
        let description = ModelDescription::new(architecture, 7).unwrap();
        let text = description.to_toml();
        assert_eq!(ModelDescription::parse(&text), Ok(description), "{text}");
    }
}

/// A coordinator's model is known by the digest of these bytes.
#[test]
fn the_toml_of_a_cifg_lstm_is_as_it_always_was() {
    let expected = "# A next-word model: a CIFG-LSTM (Hard et al. 2018) of 657800 parameters.\n\
                    kind = \"cifg-lstm\"\n\
                    # Tokens: lines of vocabulary.txt, or those of tokenizer.json.\n\
                    vocabulary = 5000\n\
                    # The embedding is the output layer too: the projection has its size.\n\
                    embedding = 96\n\
                    units = 256\n\
                    projection = 96\n\
                    output_bias = true\n\
                    # Fixes the initial weights.\n\
                    seed = 7\n";
    assert_eq!(description(5000, 256, true).to_toml(), expected);
}

#[test]
fn a_model_of_characters_says_so() {
    let architecture = Architecture::Gru(sizes(24, 32));
    let words = ModelDescription::new(architecture, 7).unwrap();
    let characters = ModelDescription::of(TextUnits::Characters, architecture, 7).unwrap();
    assert_eq!(characters.text(), TextUnits::Characters.into());
    let text = characters.to_toml();
    assert!(
        text.starts_with("# A next-character model: a GRU"),
        "{text}"
    );
    assert_eq!(ModelDescription::parse(&text), Ok(characters));
    assert!(!words.to_toml().contains("text ="));
    let said = format!("text = \"words\"\n{}", words.to_toml());
    assert_eq!(ModelDescription::parse(&said), Ok(words));
    refused(&text.replace("characters", "syllables"), "syllables");
    let tokens = ModelDescription::of(Tokenization::Tokenizer, architecture, 7).unwrap();
    let text = tokens.to_toml();
    assert!(
        text.contains("\ntext = \"tokenizer\"\n") && text.starts_with("# A next-token model"),
        "{text}"
    );
    assert_eq!(ModelDescription::parse(&text), Ok(tokens));
}

#[test]
fn a_model_of_images_has_no_text_and_odd_kernels() {
    let cnn = ModelDescription::new(Architecture::Cnn(CNN), 7).unwrap();
    assert_eq!(cnn.task(), Task::Classification);
    let toml = cnn.to_toml();
    assert!(
        toml.starts_with("# A classifier of images of 28 × 28 pixels: a convolutional network"),
        "{toml}"
    );
    let no_text = Err(DescriptionError::NoText { kind: "cnn" });
    let said = ModelDescription::parse(&format!("text = \"words\"\n{toml}"));
    assert_eq!(said, no_text);
    let characters = ModelDescription::of(TextUnits::Characters, Architecture::Cnn(CNN), 7);
    assert_eq!(characters, no_text);
    let parse = |line: &str, changed: &str| ModelDescription::parse(&toml.replace(line, changed));
    assert_eq!(
        parse("kernel = 5", "kernel = 4"),
        Err(DescriptionError::EvenKernel { kernel: 4 })
    );
    for (line, changed, field, value, most) in [
        ("kernel = 5", "kernel = 9", "kernel", 9, 7),
        (
            "first_filters = 32",
            "first_filters = 513",
            "first_filters",
            513,
            512,
        ),
        (
            "second_filters = 64",
            "second_filters = 0",
            "second_filters",
            0,
            512,
        ),
    ] {
        let least = 1;
        assert_eq!(
            parse(line, changed),
            Err(DescriptionError::OutOfRange {
                field,
                value,
                least,
                most
            })
        );
    }
    refused(&format!("layers = 2\n{toml}"), "layers");
}

fn refused(text: &str, hint: &str) {
    match ModelDescription::parse(text) {
        Err(DescriptionError::Syntax { problem }) => {
            assert!(problem.contains(hint), "{problem}");
        }
        other => panic!("expected a syntax error, not {other:?}"),
    }
}

#[test]
fn unknown_fields_kinds_and_types_are_refused() {
    let good = description(5000, 256, true).to_toml();
    for (bad, hint) in [
        (format!("{good}layers = 2\n"), "layers"),
        (good.replace("cifg-lstm", "perceptron"), "perceptron"),
        (good.replace("units = 256", "units = -1"), "units"),
        (good.replace("units = 256", "units = \"many\""), "units"),
        (good.replace("units = 256\n", ""), "units"),
        (good.replace("seed = 7", ""), "seed"),
        (good.replace("seed = 7", "seed = 4294967296"), "seed"),
        (good.replace("kind = \"cifg-lstm\"", ""), "kind"),
        (good.replace("projection = 96\n", ""), "projection"),
        // The fields of another kind.
        (good.replace("cifg-lstm", "lstm"), "projection"),
        (good.replace("cifg-lstm", "transformer"), "projection"),
    ] {
        refused(&bad, hint);
    }
    for architecture in every_kind() {
        let good = ModelDescription::new(architecture, 1).unwrap().to_toml();
        refused(&format!("{good}extra = 2\n"), "extra");
        refused(&good.replace("\nembedding", "\nEmbedding"), "mbedding");
    }
    let transformer = Architecture::Transformer(TRANSFORMER);
    let good = ModelDescription::new(transformer, 1).unwrap().to_toml();
    for field in ["layers", "heads", "feed_forward", "context"] {
        refused(&good.replace(&format!("\n{field} ="), "\nother ="), "other");
    }
}

#[test]
fn sizes_are_bounded_before_anything_is_allocated() {
    let good = description(5000, 256, true).to_toml();
    assert_eq!(
        ModelDescription::parse(&good.replace("units = 256", "units = 4294967295")),
        Err(DescriptionError::OutOfRange {
            field: "units",
            value: u32::MAX,
            least: 1,
            most: 16_384
        })
    );
    assert_eq!(
        ModelDescription::parse(&good.replace("projection = 96", "projection = 97")),
        Err(DescriptionError::NotTied {
            projection: 97,
            embedding: 96
        })
    );
    assert_eq!(
        ModelDescription::cifg_lstm(
            Sizes {
                vocabulary: 1 << 18,
                embedding: 4096,
                units: 1,
                output_bias: false
            },
            1
        ),
        Err(DescriptionError::TooManyParameters {
            parameters: (1 << 30) + 2 * 3 * 4096 + 4096 + 3
        })
    );
}

/// Every size of every kind is refused when it is zero and when it is huge; all at their largest are
/// too many parameters, and no overflow.
#[test]
fn zero_and_huge_sizes_are_refused_for_each_kind() {
    for architecture in every_kind() {
        let good = ModelDescription::new(architecture, 1).unwrap().to_toml();
        let mut largest = good.clone();
        for Bound {
            field: bounded,
            value,
            most: limit,
            ..
        } in architecture.bounds()
        {
            let line = format!("\n{bounded} = {value}\n");
            assert!(good.contains(&line), "{good}");
            let with = |value: u32| good.replace(&line, &format!("\n{bounded} = {value}\n"));
            for bad in [0, limit + 1, u32::MAX] {
                let error = ModelDescription::parse(&with(bad)).unwrap_err();
                // A CIFG-LSTM says its embedding twice, and the other one is now different.
                let tied = matches!(error, DescriptionError::NotTied { .. });
                assert!(
                    tied || matches!(
                        error,
                        DescriptionError::OutOfRange { field, value, most, .. }
                            if (field, value, most) == (bounded, bad, limit)
                    ),
                    "{bounded} = {bad}: {error}"
                );
            }
            largest = largest.replace(&line, &format!("\n{bounded} = {limit}\n"));
        }
        let largest = largest.replace("projection = 4\n", "projection = 4096\n");
        let error = ModelDescription::parse(&largest).unwrap_err();
        assert!(
            matches!(error, DescriptionError::TooManyParameters { .. }),
            "{error}"
        );
    }
}

#[test]
fn heads_must_share_out_the_embedding_evenly() {
    for (embedding, heads) in [(64, 5), (64, 64), (6, 2), (9, 3), (2, 2)] {
        let sizes = TransformerSizes {
            embedding,
            heads,
            ..TRANSFORMER
        };
        assert_eq!(
            ModelDescription::new(Architecture::Transformer(sizes), 1),
            Err(DescriptionError::Heads { embedding, heads })
        );
        let sizes = EncoderDecoderSizes {
            embedding,
            heads,
            ..ENCODER_DECODER
        };
        assert_eq!(
            ModelDescription::new(Architecture::EncoderDecoder(sizes), 1),
            Err(DescriptionError::Heads { embedding, heads })
        );
    }
}
