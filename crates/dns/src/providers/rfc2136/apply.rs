//! A batch of changes, carried out by as few messages as possible: look where something may stand, plan, write under
//! prerequisites, and look again where they failed.

use std::collections::{HashMap, VecDeque};

use hickory_proto::{op::ResponseCode, rr::Record};
use mtasts_model::{ZoneName, feed::RecordType};

use super::{
    connection::{Connection, Primary},
    plan::{Step, Target, cut},
    refusal::{Asked, again},
    standing::Standing,
    update::Write,
};
use crate::provider::{Applied, Known, Marker, ProviderError, RecordChange};

/// Octets of records in one message; the rest of the 65,535 is for header, zone and signature.
const MESSAGE_LENGTH: usize = 60_000;
/// Looks at one set whose prerequisites failed, before we say that somebody else is quicker.
const MOST_LOOKS: u32 = 6;
/// Looks at a part of a batch before it is halved: one set that changes all the time must not hold up the others.
const LOOKS_TOGETHER: u32 = 2;
/// Messages of one batch that a server may refuse outright, before the rest is not even tried: one bad change among
/// 200 takes 8 halvings.
const MOST_REFUSALS: u32 = 48;

type Outcome = Result<Applied, ProviderError>;

/// Changes that are looked at and written together.
struct Part {
    /// Their places in the batch.
    places: Vec<usize>,
    /// How often these were looked at because prerequisites failed.
    looks: u32,
}

struct Batch<'a> {
    primary: &'a Primary,
    marker: &'a Marker,
    connection: Connection<'a>,
    targets: Vec<Option<Target>>,
    /// Whether something may stand: not so for sets that were never handed over.
    look: Vec<bool>,
    outcomes: Vec<Option<Outcome>>,
    refusals: u32,
}

/// See [`crate::provider::ZoneProvider::apply`].
pub(super) async fn apply(
    primary: &Primary,
    zone: &ZoneName,
    marker: &Marker,
    changes: &[RecordChange],
) -> Result<Vec<Outcome>, ProviderError> {
    let (mut targets, mut outcomes, mut look) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        let (target, outcome) = match Target::parse(change, zone, marker) {
            Ok(target) => (Some(target), None),
            Err(error) => (None, Some(Err(error))),
        };
        look.push(change.known != Known::Never || target.as_ref().is_some_and(Target::is_removal));
        targets.push(target);
        outcomes.push(outcome);
    }
    let connection = Connection::new(primary);
    let mut batch = Batch { primary, marker, connection, targets, look, outcomes, refusals: 0 };
    for (number, places) in batch.waves().into_iter().enumerate() {
        if number > 0 {
            // The wave before has written to these names.
            for &place in &places {
                batch.look_at(place);
            }
        }
        if let Err(error) = batch.carry_out(places).await {
            return batch.end_with(&error);
        }
    }
    batch.end_with(&ProviderError::Other("a change was left without an outcome".into()))
}

impl Batch<'_> {
    /// Changes of one set, and of an alias and anything else at its name, cannot go into one message: all its
    /// prerequisites are looked at before its first update (RFC 2136 §3.2).
    fn waves(&self) -> Vec<Vec<usize>> {
        let mut waves: Vec<Vec<usize>> = Vec::new();
        let mut taken: HashMap<_, Vec<(RecordType, usize)>> = HashMap::new();
        for (place, target) in self.targets.iter().enumerate() {
            let Some(target) = target else { continue };
            let before = taken.entry(&target.name).or_default();
            let clashes = |other: RecordType| {
                other == target.record_type || [other, target.record_type].contains(&RecordType::Cname)
            };
            let wave = before.iter().filter(|(other, _)| clashes(*other)).map(|(_, wave)| wave + 1).max().unwrap_or(0);
            before.push((target.record_type, wave));
            if waves.len() <= wave {
                waves.push(Vec::new());
            }
            if let Some(wave) = waves.get_mut(wave) {
                wave.push(place);
            }
        }
        waves
    }

    async fn carry_out(&mut self, places: Vec<usize>) -> Result<(), ProviderError> {
        let mut parts = VecDeque::from([Part { places, looks: 0 }]);
        while let Some(part) = parts.pop_front() {
            let writes = self.plan(&part).await?;
            for message in self.packed(writes) {
                let (places, writes): (Vec<_>, Vec<_>) = message.into_iter().unzip();
                if self.refusals > MOST_REFUSALS {
                    let reason = "the server refused so many changes of this batch that the rest was not tried";
                    for place in places {
                        self.settle(place, Err(ProviderError::Refused { reason: reason.to_owned() }));
                    }
                    continue;
                }
                let code = self.send(writes).await?;
                self.take_note(Part { places, looks: part.looks }, code, &mut parts).await?;
            }
        }
        Ok(())
    }

    /// Looks where something may stand, and settles what needs no write.
    async fn plan(&mut self, part: &Part) -> Result<Vec<(usize, Write)>, ProviderError> {
        let mut writes = Vec::new();
        for (place, standing) in self.look(&part.places).await? {
            let Some(Some(target)) = self.targets.get(place).cloned() else { continue };
            let mut standing = match standing {
                Ok(standing) => standing,
                Err(error) => {
                    self.settle(place, Err(error));
                    continue;
                }
            };
            let mut step = target.plan(&standing, self.marker);
            // Where prerequisites go on to fail, an answer that was made from a wildcard may be the reason too.
            let is_doubtful = part.looks > LOOKS_TOGETHER || matches!(step, Step::Blocked(_));
            if is_doubtful && self.without_wildcards(&target, &mut standing).await? {
                step = target.plan(&standing, self.marker);
            }
            if matches!(step, Step::Write(_)) && target.wants_alias() && standing.set.is_empty() && part.looks > 0 {
                let beside = self.beside_alias(&target).await?;
                step = beside.map_or(step, |found| Step::Blocked(target.type_clash(found)));
            }
            match step {
                Step::Done => self.settle(place, Ok(Applied::default())),
                Step::Blocked(error) => self.settle(place, Err(error)),
                Step::Write(_) if part.looks > MOST_LOOKS => self.settle(place, Err(target.keeps_changing())),
                Step::Write(write) => writes.push((place, write)),
            }
        }
        Ok(writes)
    }

    async fn look(&mut self, places: &[usize]) -> Result<Vec<(usize, Result<Standing, ProviderError>)>, ProviderError> {
        let (mut looked, mut asked) = (Vec::new(), Vec::new());
        for &place in places {
            if let (Some(Some(target)), Some(true)) = (self.targets.get(place), self.look.get(place)) {
                looked.push(place);
                asked.push((&target.name, target.wire_type(), &target.marker_name));
            }
        }
        let found = self.primary.standing(&mut self.connection, &asked).await?;
        let mut found: HashMap<_, _> = looked.into_iter().zip(found).collect();
        Ok(places
            .iter()
            .map(|&place| (place, found.remove(&place).unwrap_or_else(|| Ok(Standing::default()))))
            .collect())
    }

    /// Drops what only a wildcard made appear; tells whether there was any.
    async fn without_wildcards(&mut self, target: &Target, standing: &mut Standing) -> Result<bool, ProviderError> {
        let mut changed = false;
        if (!standing.set.is_empty() || standing.alias.is_some())
            && !self.primary.is_in_use(&mut self.connection, &target.name).await?
        {
            (standing.set, standing.alias, changed) = (Vec::new(), None, true);
        }
        if (!standing.marker.is_empty() || standing.marker_alias.is_some())
            && !self.primary.is_in_use(&mut self.connection, &target.marker_name).await?
        {
            (standing.marker, standing.marker_alias, changed) = (Vec::new(), None, true);
        }
        Ok(changed)
    }

    /// What keeps an alias out; `None` if nothing of the types that are looked for stands there.
    async fn beside_alias(&mut self, target: &Target) -> Result<Option<String>, ProviderError> {
        if !self.primary.is_in_use(&mut self.connection, &target.name).await? {
            return Ok(None);
        }
        let standing = self.primary.all_standing(&mut self.connection, std::slice::from_ref(&target.name)).await?;
        let found: Vec<_> = standing.iter().map(|record| format!("{} {}", record.record_type, record.value)).collect();
        Ok((!found.is_empty()).then(|| cut(&found.join(", "))))
    }

    /// Writes that fit into one message each, in their order.
    fn packed(&mut self, writes: Vec<(usize, Write)>) -> Vec<Vec<(usize, Write)>> {
        let (mut messages, mut room) = (Vec::new(), 0);
        for (place, write) in writes {
            match write.length() {
                Ok(length) if length <= MESSAGE_LENGTH => {
                    if length > room {
                        messages.push(Vec::new());
                        room = MESSAGE_LENGTH;
                    }
                    room -= length;
                    if let Some(message) = messages.last_mut() {
                        message.push((place, write));
                    }
                }
                Ok(_) => {
                    let reason = "the set does not fit into one DNS message with what it replaces".to_owned();
                    self.settle(place, Err(ProviderError::Refused { reason }));
                }
                Err(error) => self.settle(place, Err(ProviderError::Other(Box::new(error)))),
            }
        }
        messages
    }

    async fn send(&mut self, writes: Vec<Write>) -> Result<ResponseCode, ProviderError> {
        let (mut prerequisites, mut updates): (Vec<Record>, Vec<Record>) = (Vec::new(), Vec::new());
        for write in writes {
            prerequisites.extend(write.prerequisites);
            updates.extend(write.updates);
        }
        self.primary.update(&mut self.connection, prerequisites, updates).await
    }

    /// Settles the changes of a message by its answer, or puts them back to be tried again.
    async fn take_note(
        &mut self,
        part: Part,
        code: ResponseCode,
        parts: &mut VecDeque<Part>,
    ) -> Result<(), ProviderError> {
        let is_one = part.places.len() == 1;
        match code {
            ResponseCode::NoError => {
                for place in part.places {
                    self.settle(place, Ok(Applied::default()));
                }
            }
            // Some prerequisite failed; the answer does not tell which (RFC 2136 §3.2).
            ResponseCode::NXRRSet | ResponseCode::YXRRSet | ResponseCode::NXDomain | ResponseCode::YXDomain => {
                for &place in &part.places {
                    self.look_at(place);
                }
                let looks = part.looks + 1;
                tracing::debug!(zone = %self.primary.zone, %code, changes = part.places.len(), looks, "overtaken");
                if is_one || looks <= LOOKS_TOGETHER {
                    parts.push_back(Part { looks, ..part });
                } else {
                    parts.extend(part.halves());
                }
            }
            code => {
                let error = self.primary.refusal(Asked::Update, code);
                self.refusals += 1;
                // What is refused even without any change is refused for all of them.
                if self.refusals == 1 && self.send(Vec::new()).await? != ResponseCode::NoError {
                    return Err(error);
                }
                tracing::debug!(zone = %self.primary.zone, %code, changes = part.places.len(), "an update was refused");
                if is_one {
                    for place in part.places {
                        let error = if code == ResponseCode::Refused { refused_alone() } else { again(&error) };
                        self.settle(place, Err(error));
                    }
                    return Ok(());
                }
                parts.extend(part.halves());
            }
        }
        Ok(())
    }

    fn look_at(&mut self, place: usize) {
        if let Some(look) = self.look.get_mut(place) {
            *look = true;
        }
    }

    fn settle(&mut self, place: usize, outcome: Outcome) {
        if let Some(unsettled) = self.outcomes.get_mut(place) {
            *unsettled = Some(outcome);
        }
    }

    /// The outcomes, with this error where there is none; the error alone if there is none at all.
    fn end_with(self, error: &ProviderError) -> Result<Vec<Outcome>, ProviderError> {
        if !self.outcomes.is_empty() && self.outcomes.iter().all(Option::is_none) {
            return Err(again(error));
        }
        Ok(self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(again(error)))).collect())
    }
}

impl Part {
    fn halves(mut self) -> [Self; 2] {
        let second = self.places.split_off(self.places.len() / 2);
        let looks = self.looks.min(LOOKS_TOGETHER);
        [Self { places: self.places, looks }, Self { places: second, looks }]
    }
}

/// The key may update the zone, but not so.
fn refused_alone() -> ProviderError {
    let reason = "the server refuses this change, though the key may update the zone: its log tells which rule it is \
                  (BIND: update-policy or check-names; Knot: the acl's update-owner or update-type)";
    ProviderError::Refused { reason: reason.to_owned() }
}
