//! In which of the service's zones a new domain is at home.

use super::{Label, ZoneName};

/// The zones that take new domains, each with a weight. Providers limit the records of a zone, so a large service has
/// several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    zones: Vec<(ZoneName, u32)>,
}

/// Why there is no placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no zone takes new domains: at least one must be active, with a weight above 0")]
pub struct NoZone;

impl Placement {
    /// Zones with weight 0 take none.
    pub fn new(zones: impl IntoIterator<Item = (ZoneName, u32)>) -> Result<Self, NoZone> {
        let zones: Vec<_> = zones.into_iter().filter(|(_, weight)| *weight > 0).collect();
        if zones.is_empty() { Err(NoZone) } else { Ok(Self { zones }) }
    }

    /// All in one zone.
    pub fn only(zone: ZoneName) -> Self {
        Self { zones: vec![(zone, 1)] }
    }

    /// The zone for a label: the labels are random, so each zone gets its share.
    pub fn choose(&self, label: &Label) -> &ZoneName {
        let total: u64 = self.zones.iter().map(|(_, weight)| u64::from(*weight)).sum();
        // FNV-1a: it must be the same in every process and version, and is no defence against anybody.
        let drawn = label
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut left = drawn % total.max(1);
        for (zone, weight) in &self.zones {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return zone,
            }
        }
        // Not reached: the remainder is below the sum of the weights.
        &self.zones[0].0
    }

    /// The zones, in the order of the configuration.
    pub fn zones(&self) -> impl Iterator<Item = &ZoneName> {
        self.zones.iter().map(|(zone, _)| zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;

    #[test]
    fn every_zone_gets_its_share_and_a_label_always_the_same() {
        let zones = [("a.test", 3), ("b.test", 1), ("c.test", 0)];
        let placement = Placement::new(zones.map(|(zone, weight)| (zone.parse().unwrap(), weight))).unwrap();
        let entropy = SeededEntropy::new(1);
        let mut in_a = 0;
        for _ in 0..4000 {
            let label = Label::draw(&entropy);
            let zone = placement.choose(&label);
            assert_eq!(zone, placement.choose(&label));
            assert_ne!(zone.as_str(), "c.test");
            in_a += usize::from(zone.as_str() == "a.test");
        }
        assert!((2800..3200).contains(&in_a), "{in_a} of 4000 instead of 3000");
        assert_eq!(Placement::new([("a.test".parse().unwrap(), 0)]), Err(NoZone));
    }
}
