//! `docs/express.md` and the page at `/__wsgi__/docs`, from the table of options.

#[cfg(test)]
use crate::options::{GONE, REFUSED};
use crate::options::{Row, SECTIONS};

/// The page for a browser.
pub fn html() -> String {
    let mut page = String::from("<!DOCTYPE html>\n<title>Options of mod_wsgi-express</title>\n<h1>Options</h1>\n");
    for (title, rows) in SECTIONS {
        page += &format!("<h2>{title}</h2>\n<table border=\"1\">\n");
        for row in rows.iter().filter(|row| !row.hidden) {
            let cells = [&usage(row), row.default_text(), row.help, row.writes]
                .map(|cell| format!("<td>{}</td>", escaped(cell)));
            page += &format!("<tr>{}</tr>\n", cells.concat());
        }
        page += "</table>\n";
    }
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn usage(row: &Row) -> String {
    let values: String = row.values.iter().map(|value| format!(" {value}")).collect();
    format!("--{}{values}{}", row.name, if row.repeats { " ..." } else { "" })
}

/// `docs/express.md`.
#[cfg(test)]
fn markdown() -> String {
    let mut page = String::from(include_str!("files/express.md"));
    for (title, rows) in SECTIONS {
        page += &format!("\n### {title}\n\n| Option | Default | Meaning | Writes |\n|---|---|---|---|\n");
        for row in rows {
            let cell = |text: &str| text.replace('|', "\\|");
            let (usage, default, help, writes) =
                (usage(row), cell(row.default_text()), cell(row.help), cell(row.writes));
            let default = if default.is_empty() { "none".to_owned() } else { default };
            page += &format!("| `{}` | {default} | {help} | {writes} |\n", cell(&usage));
        }
    }
    page += "\n## Options that are refused\n\n";
    for (name, instead) in REFUSED {
        page += &format!("* `--{name}`: {instead}\n");
    }
    page += "\n## Options of older versions\n\nThey are accepted with a warning and do nothing.\n\n";
    for (name, instead) in GONE {
        page += &format!("* `--{name}`: {instead}\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed page is what the table says. `UPDATE_DOCS=1 cargo test` writes it anew.
    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/express.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == markdown(), "docs/express.md is stale: run UPDATE_DOCS=1 cargo test");
    }

    #[test]
    fn the_page_for_browsers_has_all_that_help_shows() {
        let page = html();
        assert!(page.contains("--url-alias URL PATH ...") && page.contains("&lt;Directory>"));
        assert!(!page.contains("--with-php5"));
    }
}
