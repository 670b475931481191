//! The device: keeps text private, trains a next-word model, submits masked updates.
