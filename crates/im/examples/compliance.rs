//! Writes the page of compliance, for `docs/compliance.md`.

fn main() -> std::io::Result<()> {
    use std::io::Write as _;
    std::io::stdout().write_all(posthaste_im::ext::compliance::markdown().as_bytes())
}
