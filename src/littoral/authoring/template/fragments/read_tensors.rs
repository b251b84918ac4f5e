/// The tensor `values`, of any length.
fn read(input: &[u8]) -> Result<Vec<f32>, Error> {
    let frame = Frame::parse(input)?;
    Ok(frame.get("values")?.elements::<f32>()?.into_owned())
}
