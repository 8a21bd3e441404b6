//! Whether a text has the words of a pattern. `…` in a pattern stands for any text.

/// In lower case, with one kind of quotation mark and single spaces.
pub(super) fn normal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars().flat_map(char::to_lowercase) {
        match character {
            '’' | '‘' | '`' | '"' | '“' | '”' => out.push('\''),
            character if character.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            character => out.push(character),
        }
    }
    // OpenSSL wrote it without the hyphen before 3.0.
    out.replace("self signed", "self-signed").trim().to_owned()
}

/// All parts of the pattern stand in the text, in their order and as whole words: how many octets that explains.
pub(super) fn contains(pattern: &str, text: &str) -> Option<usize> {
    let mut rest = text;
    let mut score = 0;
    for part in pattern.split('…').map(str::trim).filter(|part| !part.is_empty()) {
        rest = after_word(rest, part)?;
        score += part.len();
    }
    (score > 0).then_some(if text == pattern { score + 1000 } else { score })
}

/// What follows the part, where it stands as a whole word.
fn after_word<'a>(text: &'a str, part: &str) -> Option<&'a str> {
    text.match_indices(part).find_map(|(at, _)| {
        let (before, rest) = (text.get(..at)?, text.get(at + part.len()..)?);
        let starts = !part.starts_with(is_word) || !before.ends_with(is_word);
        let ends = !part.ends_with(is_word) || !rest.starts_with(is_word);
        (starts && ends).then_some(rest)
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '-' || character == '_'
}

/// Most words of the pattern stand in the text, or the text is a misspelling of it.
pub(super) fn resembles(pattern: &str, text: &str) -> Option<usize> {
    if !pattern.contains(' ') {
        // Short words are too near to one another.
        let near = pattern.len() >= 8 && !text.contains(' ') && within_two_slips(pattern, text);
        return near.then_some(pattern.len());
    }
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !is_word(c)).filter(|word| word.len() > 2);
        words.map(str::to_owned).collect()
    };
    let (wanted, given) = (words(pattern), words(text));
    let met: Vec<&String> = wanted.iter().filter(|word| given.contains(word)).collect();
    let enough = met.len() >= 3 && met.len() * 4 >= wanted.len() * 3;
    enough.then(|| met.iter().map(|word| word.len()).sum())
}

/// At most two letters added, left out or changed (Levenshtein), for words of about the same length.
fn within_two_slips(a: &str, b: &str) -> bool {
    const SLIPS: usize = 2;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().take(a.len() + SLIPS + 1).collect());
    if a.len().abs_diff(b.len()) > SLIPS {
        return false;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().is_some_and(|slips| *slips <= SLIPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_in_their_order_and_as_whole_words() {
        assert_eq!(contains("host … refused", "the host mx.test[1] refused to"), Some(11));
        assert_eq!(contains("host … refused", "refused by host"), None);
        assert_eq!(contains("mx-tls", "mx-tls-x"), None);
        assert_eq!(contains("mx-tls", "mx-tls-x mx-tls."), Some(6));
        assert_eq!(contains("…", "anything"), None);
    }

    #[test]
    fn a_misspelling_is_at_most_two_letters_away() {
        assert!(within_two_slips("policy-found", "polici-fond"));
        assert!(!within_two_slips("policy-found", "policy-lost-and-found"));
        assert!(!within_two_slips("policy-found", "policy"));
        assert_eq!(resembles("mx-good", "mx-goof"), None, "too short to guess");
    }
}
