//! Certificate chains as one column: DER values one after the other.

/// Why a column is not a row of DER values.
#[derive(Debug, thiserror::Error)]
#[error("the chain is cut off or does not hold DER SEQUENCEs")]
pub(crate) struct BrokenChain;

pub(crate) fn join(chain: &[Vec<u8>]) -> Vec<u8> {
    chain.concat()
}

/// Parts the values by their own lengths (ITU-T X.690 §8.1.3).
pub(crate) fn split(mut joined: &[u8]) -> Result<Vec<Vec<u8>>, BrokenChain> {
    let mut chain = Vec::new();
    while !joined.is_empty() {
        let (certificate, rest) = joined.split_at_checked(length_of_first(joined)?).ok_or(BrokenChain)?;
        chain.push(certificate.to_vec());
        joined = rest;
    }
    Ok(chain)
}

/// Octets that the first value takes, header included.
fn length_of_first(der: &[u8]) -> Result<usize, BrokenChain> {
    const SEQUENCE: u8 = 0x30;
    match *der {
        [SEQUENCE, length @ 0..=0x7f, ..] => Ok(2 + usize::from(length)),
        [SEQUENCE, form @ 0x81..=0x84, ref rest @ ..] => {
            let octets = usize::from(form & 0x7f);
            let length = rest.get(..octets).ok_or(BrokenChain)?;
            let length = length.iter().fold(0_usize, |sum, octet| (sum << 8) | usize::from(*octet));
            length.checked_add(2 + octets).ok_or(BrokenChain)
        }
        _ => Err(BrokenChain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(length: usize) -> Vec<u8> {
        let mut der = vec![0x30];
        match length {
            0..=0x7f => der.push(u8::try_from(length).unwrap()),
            _ => der.extend([0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 0xff).unwrap()]),
        }
        der.extend(std::iter::repeat_n(7, length));
        der
    }

    #[test]
    fn a_chain_comes_apart_as_it_was_joined() {
        let chain = vec![value(5), value(900), value(0)];
        assert_eq!(split(&join(&chain)).unwrap(), chain);
        assert!(split(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_chain_that_is_cut_off_is_refused() {
        let joined = join(&[value(900)]);
        assert!(split(&joined[..joined.len() - 1]).is_err());
        assert!(split(&[0x30]).is_err());
        assert!(split(&[0x30, 0x84, 0xff]).is_err());
        assert!(split(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(split(b"junk").is_err());
    }
}
