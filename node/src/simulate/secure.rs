//! The real protocol between virtual clients and a server, in one process. Every message is encoded
//! by one side and decoded by the other, as over a network.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use secagg::client::{AwaitDelivery, AwaitRoster, AwaitSignatures, AwaitSurvivors, Unmasking};
use secagg::server::{
    AfterMasked, CollectAdverts, CollectMasked, CollectShares, CollectSignatures, CollectUnmask,
    Outcome,
};
use secagg::{
    Advert, Choice, ClientId, ConsistencyCheck, Delivery, Federation, MaskedInput, Member, Policy,
    Roster, Session, ShareKeys, Signatures, SigningIdentity, Survivors, ThreatModel, Trust,
    TrustedAuthority, UnmaskShares, Vector,
};

use super::SimulateError;
use super::clock::CpuTime;
use super::randomness::{Purpose, rng, seed};

/// CPU seconds of the two sides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spent {
    pub(super) clients: f64,
    pub(super) server: f64,
}

/// What stays the same from round to round.
pub(super) struct Protocol {
    experiment: u32,
    degree: u32,
    threshold: u32,
    policy: Policy,
    authority: SigningIdentity,
    trust: Arc<dyn Trust>,
}

/// A client, by its number among the virtual ones, and its state.
struct Waiting<S> {
    client: u32,
    id: ClientId,
    state: S,
}

const FEDERATION: Federation = Federation([0; 32]);

impl Protocol {
    pub(super) fn new(experiment: u32, threat_model: ThreatModel, choice: &Choice) -> Self {
        let authority = SigningIdentity::from_seed(&seed(experiment, Purpose::Identity, 0, 0));
        let trust = TrustedAuthority {
            key: authority.public(),
            federation: FEDERATION,
            now: 0,
        };
        Self {
            experiment,
            degree: choice.degree(),
            threshold: choice.threshold(),
            policy: Policy {
                threat_model,
                max_corrupt: choice.max_corrupt(),
                security_bits: secagg::security_bits(threat_model),
                ..Policy::default()
            },
            authority,
            trust: Arc::new(trust),
        }
    }

    /// The sum of the inputs of those sampled clients that are not lost. `input` is asked for one
    /// client's after the other, so that only one is in memory at a time.
    pub(super) fn sum(
        &self,
        session: &Session,
        round: u32,
        sampled: &[u32],
        lost: &BTreeSet<u32>,
        input: &mut dyn FnMut(u32) -> Result<Vector, SimulateError>,
    ) -> Result<(Vector, Spent), SimulateError> {
        let mut run = Run {
            session,
            rng: rng(self.experiment, Purpose::Protocol, round, 0),
            spent: Spent::default(),
        };
        let members = sampled
            .iter()
            .map(|&client| Ok((client, self.member(client)?)))
            .collect::<Result<Vec<_>, SimulateError>>()?;
        let (server, clients) = run.advertise(self, members)?;
        let (server, mut clients) = run.share(server, clients)?;
        clients.retain(|waiting| !lost.contains(&waiting.client));
        let (server, clients) = run.mask(server, clients, input)?;
        let outcome = match server {
            AfterMasked::Unmask(server) => run.unmask(server, clients)?,
            AfterMasked::Check(server) => {
                let (server, clients) = run.check(server, clients)?;
                run.unmask_checked(server, clients)?
            }
        };
        Ok((outcome.sum, run.spent))
    }

    /// Enrolment lies before the rounds and is not measured. Identities are the same in all rounds.
    fn member(&self, client: u32) -> Result<Member, SimulateError> {
        // Client 0's would be the authority's.
        let identity = seed(self.experiment, Purpose::Identity, 1, client);
        let key = Arc::new(SigningIdentity::from_seed(&identity));
        if self.policy.threat_model == ThreatModel::HonestButCurious {
            return Ok(Member::unsigned(key.client_id()));
        }
        let credential = self.authority.issue(key.public(), FEDERATION, u64::MAX);
        Ok(Member::signed(key, credential, Arc::clone(&self.trust))?)
    }
}

impl std::fmt::Debug for Protocol {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Protocol")
            .field("degree", &self.degree)
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

/// One round.
struct Run<'a> {
    session: &'a Session,
    rng: ChaCha20Rng,
    spent: Spent,
}

impl Run<'_> {
    fn advertise(
        &mut self,
        protocol: &Protocol,
        members: Vec<(u32, Member)>,
    ) -> Result<(CollectShares, Vec<Waiting<AwaitRoster>>), SimulateError> {
        let signed = protocol.policy.threat_model != ThreatModel::HonestButCurious;
        let trust = signed.then(|| Arc::clone(&protocol.trust));
        let mut server = CollectAdverts::new(self.session.clone(), trust);
        let mut clients = Vec::with_capacity(members.len());
        for (client, member) in members {
            let id = member.id();
            let (state, bytes) = self.client(|run| {
                let session = run.session.clone();
                let (state, advert) =
                    AwaitRoster::start(session, member, protocol.policy, &mut run.rng)?;
                Ok((state, advert.encode(run.session)))
            })?;
            self.server(|session| Ok(server.receive(id, Advert::decode(&bytes, session)?)?))?;
            clients.push(Waiting { client, id, state });
        }
        let server = self.server(|_| Ok(server.close(protocol.degree, protocol.threshold)?))?;
        Ok((server, clients))
    }

    fn share(
        &mut self,
        mut server: CollectShares,
        clients: Vec<Waiting<AwaitRoster>>,
    ) -> Result<(CollectMasked, Vec<Waiting<AwaitDelivery>>), SimulateError> {
        let mut shared = Vec::with_capacity(clients.len());
        for Waiting { client, id, state } in clients {
            let roster = self.server(|_| {
                let (all, own) = server.roster_bytes_for(id).ok_or(SimulateError::Silent)?;
                Ok([&all[..], &own[..]].concat())
            })?;
            let (state, bytes) = self.client(|run| {
                let roster = Roster::decode(&roster, run.session)?;
                let (state, shares) = state.receive(roster, &mut run.rng)?;
                Ok((state, shares.encode(run.session)))
            })?;
            self.server(|session| Ok(server.receive(id, ShareKeys::decode(&bytes, session)?)?))?;
            shared.push(Waiting { client, id, state });
        }
        let server = self.server(|_| Ok(server.close()?))?;
        Ok((server, shared))
    }

    fn mask(
        &mut self,
        mut server: CollectMasked,
        clients: Vec<Waiting<AwaitDelivery>>,
        input: &mut dyn FnMut(u32) -> Result<Vector, SimulateError>,
    ) -> Result<(AfterMasked, Vec<Waiting<AwaitSurvivors>>), SimulateError> {
        let mut masked = Vec::with_capacity(clients.len());
        for Waiting { client, id, state } in clients {
            let delivery = self.server(|session| {
                let delivery = server.delivery_for(id).ok_or(SimulateError::Silent)?;
                Ok(delivery.encode(session))
            })?;
            let input = input(client)?;
            let (state, bytes) = self.client(|run| {
                let ready = state.receive(Delivery::decode(&delivery, run.session)?)?;
                let (state, masked) = ready.mask(&input)?;
                Ok((state, masked.into_vec()))
            })?;
            drop(input);
            self.server(
                |session| Ok(server.receive(id, &MaskedInput::from_vec(bytes, session)?)?),
            )?;
            masked.push(Waiting { client, id, state });
        }
        let server = self.server(|_| Ok(server.close()?))?;
        Ok((server, masked))
    }

    fn check(
        &mut self,
        mut server: CollectSignatures,
        clients: Vec<Waiting<AwaitSurvivors>>,
    ) -> Result<(CollectUnmask, Vec<Waiting<AwaitSignatures>>), SimulateError> {
        let survivors = self.server(|session| Ok(server.survivors().encode(session)))?;
        let mut checked = Vec::with_capacity(clients.len());
        for Waiting { client, id, state } in clients {
            let (state, bytes) = self.client(|run| {
                let survivors = Survivors::decode(&survivors, run.session)?;
                match state.receive(survivors)? {
                    Unmasking::Check(state, check) => Ok((state, check.encode(run.session))),
                    Unmasking::Reveal(_) => Err(SimulateError::Silent),
                }
            })?;
            self.server(|session| {
                Ok(server.receive(id, &ConsistencyCheck::decode(&bytes, session)?)?)
            })?;
            checked.push(Waiting { client, id, state });
        }
        let server = self.server(|_| Ok(server.close()?))?;
        Ok((server, checked))
    }

    fn unmask_checked(
        &mut self,
        mut server: CollectUnmask,
        clients: Vec<Waiting<AwaitSignatures>>,
    ) -> Result<Outcome, SimulateError> {
        for Waiting { id, state, .. } in clients {
            let signatures = self.server(|session| {
                let signatures = server.signatures_for(id).ok_or(SimulateError::Silent)?;
                Ok(signatures.encode(session))
            })?;
            let bytes = self.client(|run| {
                let signatures = Signatures::decode(&signatures, run.session)?;
                Ok(state.receive(signatures)?.encode(run.session))
            })?;
            self.server(|session| Ok(server.receive(id, UnmaskShares::decode(&bytes, session)?)?))?;
        }
        self.server(|_| Ok(server.close()?))
    }

    fn unmask(
        &mut self,
        mut server: CollectUnmask,
        clients: Vec<Waiting<AwaitSurvivors>>,
    ) -> Result<Outcome, SimulateError> {
        let survivors = self.server(|session| Ok(server.survivors().encode(session)))?;
        for Waiting { id, state, .. } in clients {
            let bytes = self.client(|run| {
                let survivors = Survivors::decode(&survivors, run.session)?;
                match state.receive(survivors)? {
                    Unmasking::Reveal(shares) => Ok(shares.encode(run.session)),
                    Unmasking::Check(..) => Err(SimulateError::Silent),
                }
            })?;
            self.server(|session| Ok(server.receive(id, UnmaskShares::decode(&bytes, session)?)?))?;
        }
        self.server(|_| Ok(server.close()?))
    }

    fn client<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, SimulateError>,
    ) -> Result<T, SimulateError> {
        let started = CpuTime::now();
        let result = work(self);
        self.spent.clients += started.seconds();
        result
    }

    fn server<T>(
        &mut self,
        work: impl FnOnce(&Session) -> Result<T, SimulateError>,
    ) -> Result<T, SimulateError> {
        let started = CpuTime::now();
        let result = work(self.session);
        self.spent.server += started.seconds();
        result
    }
}
