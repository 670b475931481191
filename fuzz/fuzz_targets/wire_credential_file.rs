#![no_main]
//! A credential's file, as a node reads it.

use libfuzzer_sys::fuzz_target;
use secagg::{Credential, SigningIdentity};
use secagg_wire::authority::{AuthorityPin, CredentialFile};

fuzz_target!(|text: &str| {
    let Ok(file) = serde_json::from_str::<CredentialFile>(text) else {
        return;
    };
    let again = serde_json::to_string(&file).expect("a file is written");
    assert_eq!(serde_json::from_str(&again).ok(), Some(file.clone()));
    let value: serde_json::Value = serde_json::from_str(&again).expect("what was written is JSON");
    let hex = value["credential"].as_str().unwrap_or_default();
    let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
    let Some(Ok(credential)) = bytes.map(|bytes| Credential::decode(&bytes)) else {
        return;
    };
    let authority = SigningIdentity::from_seed(&[1; 32]).public();
    let pin = AuthorityPin {
        key: authority,
        federation: credential.federation(),
    };
    let now = credential.expires().saturating_sub(1);
    if let Ok(found) = file.check(credential.client_id(), pin, now) {
        assert_eq!(found, credential, "what was checked is what was read");
    }
});

fn byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
