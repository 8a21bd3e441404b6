//! docs/inspector.md has every finding, as the catalogue has it.

use std::{env, fmt::Write, fs, path::Path};

use mtasts_probe::inspect::{Code, Group};

const BEGIN: &str = "<!-- catalogue: written by the test `the_catalogue_in_the_docs_is_the_one_of_the_code` -->\n";
const END: &str = "<!-- end of catalogue -->\n";

fn catalogue() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        writeln!(text, "\n### {}\n", group.title()).unwrap();
        writeln!(text, "| code | severity | what it means | what to do | RFC | what senders say |").unwrap();
        writeln!(text, "| --- | --- | --- | --- | --- | --- |").unwrap();
        for code in Code::ALL.iter().filter(|code| code.group() == group) {
            let words: Vec<_> =
                code.senders().iter().map(|words| format!("{}: `{}`", words.sender, words.says)).collect();
            let cells = [
                format!("`{code}`"),
                code.severity().as_str().to_owned(),
                code.meaning().to_owned(),
                code.advice().to_owned(),
                code.rfc().to_owned(),
                words.join("; "),
            ];
            let cells = cells.map(|cell| escaped(&cell));
            writeln!(text, "| {} |", cells.join(" | ")).unwrap();
        }
    }
    text.push('\n');
    text
}

/// Fit for a cell: what is not code must not be taken for HTML.
fn escaped(cell: &str) -> String {
    let parts = cell.split('`').enumerate();
    let parts = parts.map(|(index, part)| if index % 2 == 0 { part.replace('<', "\\<") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`").replace('|', "\\|")
}

/// With `MTASTS_WRITE_DOCS=1` it writes the catalogue in place of comparing it.
#[test]
fn the_catalogue_in_the_docs_is_the_one_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/inspector.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let wanted = catalogue();
    if env::var_os("MTASTS_WRITE_DOCS").is_some() {
        fs::write(&path, [before, BEGIN, &wanted, END, after].concat()).unwrap();
    } else {
        assert!(found == wanted, "run this test with MTASTS_WRITE_DOCS=1");
    }
}
