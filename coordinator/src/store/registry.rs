//! Nodes, enrolment tokens, and who uploaded when.

use rusqlite::{OptionalExtension as _, Row, TransactionBehavior, params};
use secagg::ClientId;
use secagg_learning::Candidate;
use secagg_wire::{
    digest::Digest,
    enrol::EnrolRefusal,
    identity::Fingerprint,
    text::{Name, Reason},
};

use super::{Store, StoreError};

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id in the protocol.
    pub client: ClientId,
    /// Its place in the order of enrolment.
    pub ordinal: u32,
    /// What it is called.
    pub name: String,
    /// Seconds since 1970.
    pub enrolled_at: i64,
    /// Rounds in which it uploaded.
    pub uploads: u32,
    /// The last of them.
    pub last_round: Option<u64>,
}

/// A token to be issued. Only its hash is stored.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// What is stored instead of the token.
    pub hash: Digest,
    /// The name of the node that uses it, if the operator chose one.
    pub name: Option<Name>,
    /// Seconds since 1970 after which it is void.
    pub expires_at: i64,
}

/// A masked vector that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Upload {
    /// The round.
    pub round: u64,
    /// The attempt.
    pub attempt: u32,
    /// From whom.
    pub client: ClientId,
    /// How many bytes.
    pub bytes: u64,
}

impl Store {
    /// Stores new tokens.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn issue_tokens(&mut self, tokens: &[IssuedToken], now: i64) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for token in tokens {
            transaction.execute(
                "INSERT INTO tokens (hash, name, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
                params![
                    token.hash.as_bytes().as_slice(),
                    token.name.as_ref().map(Name::as_str),
                    now,
                    token.expires_at
                ],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Registers a node with a token, which is used up by it. All or nothing.
    ///
    /// # Errors
    /// When SQLite fails. The inner result says why the node was refused.
    pub fn enrol(
        &mut self,
        token: &Digest,
        identity_key: &[u8; 32],
        fingerprint: &Fingerprint,
        name: &Name,
        now: i64,
    ) -> Result<Result<Node, EnrolRefusal>, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: Option<(Option<String>, i64, bool)> = transaction
            .query_row(
                "SELECT name, expires_at, used_by IS NOT NULL FROM tokens WHERE hash = ?1",
                [token.as_bytes().as_slice()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?;
        // A token that was seen by somebody else must not admit a second node.
        let Some((chosen, expires_at, false)) = found else {
            return Ok(Err(EnrolRefusal::UnknownToken));
        };
        if expires_at <= now {
            return Ok(Err(EnrolRefusal::ExpiredToken));
        }
        let known: bool = transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM nodes WHERE identity_key = ?1 OR fingerprint = ?2)",
            params![identity_key.as_slice(), fingerprint.as_bytes().as_slice()],
            |row| row.get(0),
        )?;
        if known {
            return Ok(Err(EnrolRefusal::AlreadyEnrolled));
        }
        let ordinal: u32 = transaction.query_row(
            "SELECT COALESCE(MAX(ordinal) + 1, 0) FROM nodes",
            [],
            |row| row.get(0),
        )?;
        let client = ClientId::from_identity_key(identity_key);
        let name = chosen.unwrap_or_else(|| name.as_str().to_owned());
        if name.trim().is_empty() {
            let reason = Reason::fitted("a node needs a name: join with --name");
            return Ok(Err(EnrolRefusal::Other(reason)));
        }
        transaction.execute(
            "INSERT INTO nodes (client_id, ordinal, name, identity_key, fingerprint, enrolled_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                client.as_bytes().as_slice(),
                ordinal,
                name,
                identity_key.as_slice(),
                fingerprint.as_bytes().as_slice(),
                now
            ],
        )?;
        transaction.execute(
            "UPDATE tokens SET used_by = ?2 WHERE hash = ?1",
            params![token.as_bytes().as_slice(), client.as_bytes().as_slice()],
        )?;
        transaction.commit()?;
        Ok(Ok(Node {
            client,
            ordinal,
            name,
            enrolled_at: now,
            uploads: 0,
            last_round: None,
        }))
    }

    /// The node with that certificate.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn node_by_fingerprint(
        &self,
        fingerprint: &Fingerprint,
    ) -> Result<Option<(ClientId, String)>, StoreError> {
        self.connection
            .query_row(
                "SELECT client_id, name FROM nodes WHERE fingerprint = ?1",
                [fingerprint.as_bytes().as_slice()],
                |row| Ok((client_id(row, 0)?, row.get(1)?)),
            )
            .optional()
            .map_err(StoreError::from)
    }

    /// All nodes in the order of enrolment.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT client_id, ordinal, name, enrolled_at, COUNT(DISTINCT round), MAX(round)
             FROM nodes LEFT JOIN uploads USING (client_id) GROUP BY client_id ORDER BY ordinal",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Node {
                client: client_id(row, 0)?,
                ordinal: row.get(1)?,
                name: row.get(2)?,
                enrolled_at: row.get(3)?,
                uploads: row.get(4)?,
                last_round: row.get(5)?,
            })
        })?;
        rows.map(|row| row.map_err(StoreError::from)).collect()
    }

    /// Tokens that can still be used.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn open_tokens(&self, now: i64) -> Result<u32, StoreError> {
        Ok(self.connection.query_row(
            "SELECT COUNT(*) FROM tokens WHERE used_by IS NULL AND expires_at > ?1",
            [now],
            |row| row.get(0),
        )?)
    }

    /// Notes that a masked vector arrived, in whatever becomes of its round.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn record_upload(&mut self, upload: &Upload) -> Result<(), StoreError> {
        // A power cut may lose it: the node counts its uploads itself. Not worth a flush for each.
        self.connection
            .pragma_update(None, "synchronous", "normal")?;
        let recorded = self.connection.execute(
            "INSERT OR REPLACE INTO uploads (round, attempt, client_id, bytes)
             VALUES (?1, ?2, ?3, ?4)",
            params![
                upload.round,
                upload.attempt,
                upload.client.as_bytes().as_slice(),
                upload.bytes
            ],
        );
        self.connection.pragma_update(None, "synchronous", "full")?;
        recorded?;
        Ok(())
    }

    /// Who has uploaded in any attempt at a round.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn uploaded_in(&self, round: u64) -> Result<Vec<ClientId>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT DISTINCT client_id FROM uploads WHERE round = ?1")?;
        let rows = statement.query_map([round], |row| client_id(row, 0))?;
        rows.map(|row| row.map_err(StoreError::from)).collect()
    }
}

impl Node {
    /// The node as selection sees it.
    #[must_use]
    pub fn candidate(&self, available: bool) -> Candidate {
        Candidate {
            id: self.client,
            ordinal: self.ordinal,
            available,
            participations: self.uploads,
            last_round: self.last_round,
        }
    }
}

pub(super) fn client_id(row: &Row<'_>, index: usize) -> Result<ClientId, rusqlite::Error> {
    row.get(index).map(ClientId::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        Store::open(std::path::Path::new(":memory:")).unwrap()
    }

    fn token(number: u8, name: Option<&str>) -> IssuedToken {
        IssuedToken {
            hash: Digest::of(&[number]),
            name: name.map(|name| Name::new(name).unwrap()),
            expires_at: 100,
        }
    }

    fn enrol(store: &mut Store, token: u8, node: u8, now: i64) -> Result<Node, EnrolRefusal> {
        let fingerprint = Fingerprint::from_bytes([node; 32]);
        let name = Name::new(format!("node {node}")).unwrap();
        store
            .enrol(&Digest::of(&[token]), &[node; 32], &fingerprint, &name, now)
            .unwrap()
    }

    #[test]
    fn a_token_admits_one_node() {
        let mut store = store();
        store
            .issue_tokens(
                &[token(1, None), token(2, Some("chosen")), token(3, None)],
                0,
            )
            .unwrap();
        assert_eq!(store.open_tokens(0).unwrap(), 3);
        assert_eq!(enrol(&mut store, 9, 1, 1), Err(EnrolRefusal::UnknownToken));
        let node = enrol(&mut store, 1, 1, 1).unwrap();
        assert_eq!((node.ordinal, node.name.as_str()), (0, "node 1"));
        assert_eq!(enrol(&mut store, 1, 2, 1), Err(EnrolRefusal::UnknownToken));
        assert_eq!(
            enrol(&mut store, 2, 1, 1),
            Err(EnrolRefusal::AlreadyEnrolled)
        );
        let node = enrol(&mut store, 2, 2, 1).unwrap();
        assert_eq!((node.ordinal, node.name.as_str()), (1, "chosen"));
        assert_eq!(
            enrol(&mut store, 3, 3, 100),
            Err(EnrolRefusal::ExpiredToken)
        );
        let fingerprint = Fingerprint::from_bytes([2; 32]);
        assert_eq!(
            store.node_by_fingerprint(&fingerprint).unwrap(),
            Some((node.client, "chosen".to_owned()))
        );
        assert_eq!(
            store
                .node_by_fingerprint(&Fingerprint::from_bytes([3; 32]))
                .unwrap(),
            None
        );
    }

    #[test]
    fn uploads_count_once_a_round() {
        let mut store = store();
        store.issue_tokens(&[token(1, None)], 0).unwrap();
        let client = enrol(&mut store, 1, 1, 1).unwrap().client;
        for (round, attempt) in [(1, 1), (1, 2), (4, 1)] {
            let upload = Upload {
                round,
                attempt,
                client,
                bytes: 6,
            };
            store.record_upload(&upload).unwrap();
        }
        let nodes = store.nodes().unwrap();
        assert_eq!((nodes[0].uploads, nodes[0].last_round), (2, Some(4)));
        assert_eq!(store.uploaded_in(1).unwrap(), [client]);
        assert_eq!(store.uploaded_in(2).unwrap(), []);
    }
}
