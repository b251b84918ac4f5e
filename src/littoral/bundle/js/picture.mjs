import { hex } from "./digest.mjs";
import { Refusal } from "./refusal.mjs";

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const NOT_FRAMES = new Set([0xc4, 0xc8, 0xcc]); // tables and extensions among the numbers of frames

/**
 * Refuses what no decoder should begin with. What the file says of itself is read, nothing is decoded.
 * @param {Uint8Array} bytes
 * @param {number} sideMax most pixels on a side
 * @returns {{kind: "jpeg" | "png", width: number, height: number}}
 */
export function checkedPicture(bytes, sideMax) {
  if (bytes.length === 0) throw new Refusal(400, "body is empty, expected a JPEG or PNG picture");
  const found = isPng(bytes) ? pngSize(bytes) : isJpeg(bytes) ? jpegSize(bytes) : null;
  if (found === null) throw new Refusal(415, `body begins with \`${head(bytes)}\`, expected a JPEG or PNG picture`);
  const { width, height } = found;
  if (width === 0 || height === 0) throw new Refusal(422, `picture of ${width}×${height} pixels`);
  if (Math.max(width, height) > sideMax)
    throw new Refusal(413, `picture of ${width}×${height} pixels, at most ${sideMax} on a side`);
  return found;
}

const head = (bytes) => hex(bytes.subarray(0, 4));
const isPng = (bytes) => PNG.every((byte, i) => bytes[i] === byte);
const isJpeg = (bytes) => bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
const damaged = (what) => new Refusal(422, `${what}: no size of the picture is found`);

function pngSize(bytes) {
  if (bytes.length < 33 || String.fromCharCode(...bytes.subarray(12, 16)) !== "IHDR") throw damaged("PNG");
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return { kind: "png", width: view.getUint32(16), height: view.getUint32(20) };
}

function jpegSize(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 2;
  while (at + 9 <= bytes.length) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff || marker === 0xd9 || marker === 0xda) break;
    if (marker === 0xff) at += 1; // padding
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) at += 2; // markers without a length
    else if (marker >= 0xc0 && marker <= 0xcf && !NOT_FRAMES.has(marker))
      return { kind: "jpeg", height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    else at += 2 + Math.max(2, view.getUint16(at + 2));
  }
  throw damaged("JPEG");
}
