//! Fails the build with one clear sentence when no libtorch is there.
