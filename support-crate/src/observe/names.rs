//! Names for people to read.

use std::fmt::Write as _;

/// A type's name without the paths: `app::fetch::{{closure}}` is what an `async fn fetch` returns, and is shown as `fetch()`.
pub(crate) fn short_name(full: &str) -> String {
    let mut short = String::new();
    let mut rest = full;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_:{}#".contains(c))).unwrap_or(rest.len());
        let (path, after) = rest.split_at(end);
        let mut parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
        let mut closures = 0;
        while parts.last().is_some_and(|part| part.starts_with("{{") || part.starts_with('{')) {
            parts.pop();
            closures += 1;
        }
        match (parts.last(), closures) {
            // What a notebook's cell is compiled into is a function of this name. Its number is the kernel's, not always the cell's. A future that has
            // no name is an async block; what stands among a type's parameters may be a closure as well.
            (Some(name), 1..) if name.starts_with("run_user_code_") => {
                short.push_str(if short.is_empty() { "async block of a cell" } else { "code of a cell" });
            }
            (Some(name), 0) => short.push_str(name),
            (Some(name), 1) => write!(short, "{name}()").expect("a String takes everything"),
            (Some(name), _) => write!(short, "{name}(){{async}}").expect("a String takes everything"),
            (None, 0) => short.push_str(path),
            (None, _) => short.push_str("{async}"),
        }
        let next = after.find(|c: char| c.is_alphanumeric() || c == '_' || c == '{').unwrap_or(after.len());
        short.push_str(&after[..next]);
        rest = &after[next..];
    }
    short
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn names_lose_their_paths_and_keep_their_arguments() {
        assert_eq!(short_name("app::fetch::{{closure}}"), "fetch()");
        assert_eq!(short_name("core::future::pending::Pending<()>"), "Pending<()>");
        assert_eq!(short_name("a::Retry<b::make::{{closure}}, c::D>"), "Retry<make(), D>");
        assert_eq!(short_name("ctx::run::{{closure}}::{{closure}}"), "run(){async}");
        assert_eq!(short_name("ctx::run_user_code_33::{{closure}}"), "async block of a cell");
        assert_eq!(short_name("a::Retry<ctx::run_user_code_3::{{closure}}, b::D>"), "Retry<code of a cell, D>");
    }
}
