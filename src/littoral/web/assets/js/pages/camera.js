/** The camera of this browser as a pipeline's input: one picture, or one after the other as fast as they are answered. */

import { make } from "../dom.js";
import { failure } from "./panel.js";

const SIDE = { ideal: 640 };
const QUALITY = 0.9;
const PAUSE_MS = 100;
const REASONS = {
  NotAllowedError: "This page may not use the camera · hint: allow it in the browser's bar of addresses",
  NotFoundError: "There is no camera on this machine",
  NotReadableError: "The camera is in use elsewhere",
};

/** `ask(file)` runs the pipeline and resolves once it has answered; `following(isFollowing)` when it goes on by itself, or ends. */
export function cameraInput(ask, following) {
  const video = make("video", { class: "camera", muted: true, playsinline: true, "aria-label": "What the camera sees", hidden: true });
  const open = make("button", { id: "camera-open", class: "button quiet", type: "button", onclick: toggle }, "Use the camera");
  const once = make("button", { id: "camera-once", class: "button", type: "button", hidden: true, onclick: () => take() }, "Run with a picture");
  const follow = make("button", { id: "camera-follow", class: "button quiet", type: "button", hidden: true, "aria-pressed": "false", onclick: toggleFollow }, "Run without end");
  const problem = make("div");
  const element = make("div", { class: "camera-input" }, video, make("div", { class: "actions" }, open, once, follow), problem);
  let stream = null;
  let isFollowing = false;

  async function toggle() {
    problem.replaceChildren();
    if (stream) return close();
    if (!navigator.mediaDevices) {
      problem.append(failure("No camera", "Browsers give cameras only to pages over https, or of this very machine"));
      return undefined;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: SIDE, facingMode: "environment" } });
      video.srcObject = stream;
      await video.play();
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      problem.append(failure("No camera", REASONS[error.name] ?? error.message));
      close();
      return undefined;
    }
    tell();
    return undefined;
  }

  function close() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    isFollowing = false;
    video.srcObject = null;
    tell();
  }

  function tell() {
    following(isFollowing);
    for (const one of [video, once, follow]) one.hidden = !stream;
    open.textContent = stream ? "Close the camera" : "Use the camera";
    follow.textContent = isFollowing ? "Stop" : "Run without end";
    follow.setAttribute("aria-pressed", String(isFollowing));
  }

  async function take() {
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
    if (blob) await ask(new File([blob], "camera.jpg", { type: blob.type }));
  }

  async function toggleFollow() {
    isFollowing = !isFollowing;
    tell();
    while (isFollowing) {
      if (!document.hidden) await take();
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  }

  return { element, close };
}
