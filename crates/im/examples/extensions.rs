//! Writes the list of extensions, for `docs/extensions.md`.

fn main() -> std::io::Result<()> {
    use std::io::Write as _;
    std::io::stdout().write_all(posthaste_im::ext::listing::markdown().as_bytes())
}
