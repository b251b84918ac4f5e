const STYLE = `
  :host { display: block; font: 1rem/1.4 system-ui, sans-serif; max-width: 40rem; }
  [part=controls] { display: flex; gap: .5rem; flex-wrap: wrap; align-items: center; }
  video { width: 100%; border-radius: .5rem; }
  progress { width: 100%; }
  ol { padding-left: 1.5rem; }
  [hidden] { display: none; }
`;
const MARKUP = `
  <div part="controls">
    <label>Picture <input type="file" accept="image/jpeg,image/png"></label>
    <button type="button" part="camera">Camera</button>
  </div>
  <video muted playsinline hidden></video>
  <progress max="1" value="0" aria-label="Loading"></progress>
  <p part="status" role="status"></p>
  <ol part="hits"></ol>
`;

/**
 * `<littoral-similar node="https://…">`: a file or the camera, embedded on the device, and the nearest points below.
 * Where the node cannot be reached it shows the last ones. Fires `result` with {hits, isOffline, embed_ms}.
 * @param {(options: object) => import("./client.mjs").Client} open
 * @param {string} remembered key of the last hits in the page's storage
 */
export function elementOf(open, remembered) {
  return class LittoralSimilar extends HTMLElement {
    #client = null;
    #parts = {};

    connectedCallback() {
      const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
      root.innerHTML = `<style>${STYLE}</style>${MARKUP}`;
      for (const name of ["input", "button", "video", "progress", "p", "ol"]) this.#parts[name] = root.querySelector(name);
      const { input, button, progress } = this.#parts;
      const onProgress = (loaded, total) => (progress.value = loaded / total);
      this.#client = open({ node: this.getAttribute("node") ?? undefined, onProgress });
      this.#client.ready.then(
        () => (progress.hidden = true),
        ({ message }) => this.#say(message),
      );
      input.addEventListener("change", () => input.files[0] && this.show(input.files[0]));
      button.addEventListener("click", () => this.#camera().catch(({ message }) => this.#say(message)));
    }

    disconnectedCallback() {
      this.#stop();
      this.#client.close();
    }

    /** @param {Blob} picture JPEG or PNG */
    async show(picture) {
      const began_ms = performance.now();
      try {
        const vector = await this.#client.embed(picture);
        const embed_ms = performance.now() - began_ms;
        const found = await this.#found(vector);
        this.#list(found.hits);
        this.#say(found.isOffline ? "Offline: the last results" : `${found.hits.length} found`);
        this.dispatchEvent(new CustomEvent("result", { detail: { ...found, embed_ms } }));
      } catch ({ message }) {
        this.#say(message);
        this.dispatchEvent(new CustomEvent("failure", { detail: { message } }));
      }
    }

    async #found(vector) {
      try {
        const hits = await this.#client.search(vector);
        localStorage.setItem(remembered, JSON.stringify(hits));
        return { hits, isOffline: false };
      } catch (error) {
        const last = localStorage.getItem(remembered);
        if (error.status < 500 || last === null) throw error;
        return { hits: JSON.parse(last), isOffline: true };
      }
    }

    async #camera() {
      const { video, button } = this.#parts;
      if (video.srcObject === null) {
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
        video.hidden = false;
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

    #list(hits) {
      const lines = hits.map(({ id, score, payload }) => {
        const line = document.createElement("li");
        line.textContent = `${payload?.title ?? payload?.source ?? id} (${score.toFixed(3)})`;
        return line;
      });
      this.#parts.ol.replaceChildren(...lines);
    }

    #say(text) {
      this.#parts.p.textContent = text;
    }
  };
}
