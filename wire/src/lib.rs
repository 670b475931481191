//! What node and coordinator say to each other: frames, messages, TLS identities, enrolment tokens.
