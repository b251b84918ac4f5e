/** The ways a file gets in: chosen, dropped anywhere on the page, pasted. */

/** Calls `take(file)` with each file that comes in, and `refuse(message)` where what came holds none. */
export function wirePictureInput(input, { take, refuse }) {
  const offer = (files) => (files?.length ? take(files[0]) : refuse("That holds no file · hint: save the picture and choose it"));

  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // so that choosing the same file again is a change
    if (file) take(file);
  });

  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) take(event.clipboardData.files[0]);
    else refuse("The clipboard holds no picture");
  });

  const root = document.documentElement;
  const isDrag = (event) => event.dataTransfer?.types.includes("Files") || event.dataTransfer?.types.includes("text/uri-list");
  document.addEventListener("dragover", (event) => {
    if (!isDrag(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    root.dataset.dragging = "";
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) delete root.dataset.dragging;
  });
  document.addEventListener("drop", (event) => {
    delete root.dataset.dragging;
    if (!isDrag(event)) return;
    event.preventDefault();
    offer(event.dataTransfer.files);
  });
}
