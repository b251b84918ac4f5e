/// One number a line.
fn write(values: &[f32], output: &mut Output) -> Result<(), Error> {
    let lines: Vec<String> = values.iter().map(|value| format!("{value}\n")).collect();
    output.write(lines.concat().as_bytes())
}
