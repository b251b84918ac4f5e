/// Numbers in text, apart by white space or commas.
fn read(input: &[u8]) -> Result<Vec<f32>, Error> {
    let text = std::str::from_utf8(input).map_err(|error| Error::input(format!("no text: {error}")))?;
    text.split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map_err(|_| Error::input(format!("`{word}` is no number"))))
        .collect()
}
