import { styleSheet } from "./style.mjs";

const LABEL_CHARACTERS_MAX = 120;
const ADDRESS = /^(data:image\/|https?:|\/(?!9j\/))/; // Base64 of a JPEG begins as a path does
const ASKING = {
  picture: `<label>Choose a picture<input type="file" accept="image/jpeg,image/png"></label>
    <button type="button" part="camera">Camera</button>`,
  text: `<input type="search" part="text" aria-label="Text" placeholder="Text"><button type="button">Search</button>`,
};
const MARKUP = `
  <div part="controls">
    ASKING
    <progress max="1" value="0" aria-label="Loading"></progress>
  </div>
  <video part="asked" muted playsinline hidden></video>
  <img part="asked" alt="The picture that is asked about" hidden>
  <p part="status" role="status"></p>
  <ol part="hits" aria-label="What was found"></ol>
`;

/**
 * `<littoral-similar node="https://…" label="source" thumbnail="thumbnail">`: a file, a drop, the camera or a text, embedded
 * on the device, and the nearest points below. label, thumbnail: fields of a point's payload that are shown.
 * Where the node cannot be reached it shows the last ones. Fires `result` with {hits, isOffline, embed_ms}.
 * @param {(options: object) => import("./client.mjs").Client} open
 * @param {string} remembered key of the last hits in the page's storage
 * @param {"picture" | "text"} kind of what is asked about
 */
export function elementOf(open, remembered, kind) {
  return class LittoralSimilar extends HTMLElement {
    #client = null;
    #parts = {};
    #turn = 0;

    connectedCallback() {
      const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [styleSheet()];
      root.innerHTML = MARKUP.replace("ASKING", ASKING[kind]);
      for (const name of ["input", "button", "video", "img", "progress", "p", "ol"]) this.#parts[name] = root.querySelector(name);
      const { input, button, progress } = this.#parts;
      const onProgress = (loaded, total) => (progress.value = loaded / total);
      this.#client = open({ node: this.getAttribute("node") ?? undefined, onProgress });
      this.#say("loading", "Loading …");
      this.#client.ready.then(
        () => {
          progress.hidden = true;
          if (this.dataset.state === "loading") this.#say("ready", "Ready. What you ask about stays on this device.");
        },
        ({ message }) => {
          progress.hidden = true;
          this.#say("failed", message);
        },
      );
      if (kind === "text") this.#takeTexts(input, button);
      else this.#takePictures(input, button);
    }

    #takeTexts(input, button) {
      for (const [part, event] of [[input, "change"], [button, "click"]])
        part.addEventListener(event, () => input.value && this.show(input.value));
    }

    #takePictures(input, button) {
      input.addEventListener("change", () => input.files[0] && this.show(input.files[0]));
      button.hidden = !navigator.mediaDevices?.getUserMedia;
      button.addEventListener("click", () => this.#camera().catch(({ message }) => this.#say("failed", message)));
      this.addEventListener("dragover", (event) => event.preventDefault());
      this.addEventListener("drop", (event) => {
        event.preventDefault();
        if (event.dataTransfer.files[0]) this.show(event.dataTransfer.files[0]);
      });
    }

    disconnectedCallback() {
      this.#stop();
      this.#client.close();
    }

    /** @param {Blob | string} asked a JPEG or PNG picture, or a text */
    async show(asked) {
      const began_ms = performance.now();
      const turn = ++this.#turn;
      if (asked instanceof Blob) this.#showAsked(asked);
      this.#say("asking", "Searching …");
      try {
        const answer = await this.#client.ask(asked);
        const embed_ms = performance.now() - began_ms;
        const found = Array.isArray(answer) ? { hits: answer, isOffline: false } : await this.#found(answer);
        if (turn !== this.#turn) return; // another one has been asked about since
        this.#parts.ol.replaceChildren(...found.hits.map((hit) => this.#line(hit)));
        if (found.isOffline) this.#say("offline", "The node cannot be reached: these were found last");
        else this.#say("answered", `${found.hits.length} found in ${(performance.now() - began_ms).toFixed(0)} ms`);
        this.dispatchEvent(new CustomEvent("result", { detail: { ...found, embed_ms } }));
      } catch ({ message }) {
        if (turn !== this.#turn) return;
        this.#parts.ol.replaceChildren();
        this.#say("failed", message);
        this.dispatchEvent(new CustomEvent("failure", { detail: { message } }));
      }
    }

    async #found(vector) {
      try {
        const hits = await this.#client.search(vector);
        remember(remembered, hits);
        return { hits, isOffline: false };
      } catch (error) {
        const last = error.status < 500 ? null : recalled(remembered);
        if (last === null) throw error;
        return { hits: last, isOffline: true };
      }
    }

    async #camera() {
      const { video, button } = this.#parts;
      if (video.srcObject === null) {
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
        video.hidden = false;
        this.#parts.img.hidden = true;
        button.textContent = "Take picture";
        return video.play();
      }
      const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
      canvas.getContext("2d").drawImage(video, 0, 0);
      this.#stop();
      return this.show(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 }));
    }

    #stop() {
      const { video, button } = this.#parts;
      video.srcObject?.getTracks().forEach((track) => track.stop());
      video.srcObject = null;
      video.hidden = true;
      button.textContent = "Camera";
    }

    #showAsked(picture) {
      const { img } = this.#parts;
      URL.revokeObjectURL(img.src);
      img.src = URL.createObjectURL(picture);
      img.hidden = false;
    }

    #line({ id, score, payload }) {
      const line = document.createElement("li");
      const picture = payload?.[this.getAttribute("thumbnail") ?? "thumbnail"];
      if (typeof picture === "string") {
        const src = ADDRESS.test(picture) ? picture : `data:image/jpeg;base64,${picture}`;
        line.append(Object.assign(document.createElement("img"), { src, alt: "" }));
      }
      const label = payload?.[this.getAttribute("label") ?? "source"] ?? payload?.title ?? payload?.text ?? payload?.label ?? id;
      for (const text of [String(label).slice(0, LABEL_CHARACTERS_MAX), score.toFixed(3)])
        line.append(Object.assign(document.createElement("span"), { textContent: text }));
      return line;
    }

    #say(state, text) {
      this.dataset.state = state;
      this.#parts.p.textContent = text;
    }
  };
}

/** A full or forbidden store only means that there is nothing to show without a network. */
function remember(place, hits) {
  try {
    localStorage.setItem(place, JSON.stringify(hits));
  } catch (error) {
    console.info(`last results are not kept: ${error.message}`);
  }
}

function recalled(place) {
  try {
    return JSON.parse(localStorage.getItem(place));
  } catch {
    return null;
  }
}
