/** Pictures to ask with: read whole, bounded, named. */

export const PICTURE_BYTES_MAX = 16 * 1024 * 1024;

const PICTURE_URL = /^data:image\/(?:jpeg|png|webp);base64,[A-Za-z0-9+/]+=*$/;

/** The file is none that can be asked with. */
export class PictureError extends Error {
  name = "PictureError";
}

/** `{name, file}` of a file the user gave; `file` is in memory. Raises PictureError. */
export async function readPicture(file) {
  const name = file.name || "pasted picture";
  if (file.size > PICTURE_BYTES_MAX) {
    const size = (file.size / 1024 / 1024).toFixed(1);
    throw new PictureError(`\`${name}\` has ${size} MB, at most ${PICTURE_BYTES_MAX / 1024 / 1024} MB can be asked with`);
  }
  if (file.size === 0) throw new PictureError(`\`${name}\` is empty`);
  try {
    return { name, file: new Blob([await file.arrayBuffer()], { type: file.type }) };
  } catch (error) {
    throw new PictureError(`\`${name}\` cannot be read · hint: folders cannot be asked with`, { cause: error });
  }
}

/** Whether a payload's text is a picture that may be shown and asked with. */
export const isPictureUrl = (text) => typeof text === "string" && PICTURE_URL.test(text);

/** `{name, file}` of a picture in a data URL. */
export function pictureOfUrl(url, name) {
  const [head, data] = url.split(",");
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return { name, file: new Blob([bytes], { type: head.slice("data:".length, head.indexOf(";")) }) };
}

/** What a point shows, in words: its source and its second, else its id. */
export function caption({ id, payload }) {
  const source = payload?.source;
  if (typeof source !== "string") return `point ${id}`;
  return typeof payload.seconds === "number" ? `${source} at ${payload.seconds.toFixed(2)} s` : source;
}
