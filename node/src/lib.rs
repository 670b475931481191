//! The device: keeps text private, trains a next-word model, submits masked updates.
//!
//! | module | what it does |
//! |---|---|
//! | [`text`] | reads messages out of plain files, folders, JSON Lines and LEAF JSON |
//! | [`store`] | keeps messages encrypted at rest, split into training and held-out |
//! | [`vocabulary`] | words, their numbers, and messages as numbers |
//! | [`examples`] | what a model learns from, as numbers: messages or images |
//! | [`digits`] | draws digits, for models of images |
//! | [`model`] | the model's description, its weights, and the network itself |
//! | [`training`] | local training, without any I/O |
//! | [`exploration`] | evolution strategies, without any I/O |
//! | [`clock`], [`memory`] | the time, and the memory that this process takes |
//! | [`evaluation`] | loss and accuracy on held-out text, without any I/O |
//! | [`generation`] | continues a phrase, suggests next words |
//! | [`int8`] | inference with weights of 8 bits, without libtorch |
//! | [`numbers`] | numbers in words, made on the spot: examples of texts that become others |
//! | [`simulate`] | many virtual clients in one process |
//! | [`participate`] | joins a federation, takes part in its rounds |
//! | [`commands`] | what a user types |
//!
//! Text never leaves this crate: what leaves a device is a masked update, and the masking is the
//! `secagg` crate's. Only the files in `model/` name a network's layers.

pub mod clock;
pub mod commands;
pub mod digits;
pub mod evaluation;
pub mod examples;
pub mod exploration;
pub mod generation;
pub mod int8;
pub mod memory;
pub mod model;
pub mod numbers;
pub mod participate;
pub mod progress;
pub mod simulate;
pub mod store;
pub mod text;
pub mod training;
pub mod vocabulary;
