/** Colours follow the reader's scheme; a page may set `--littoral-accent` and `--littoral-ground`. Constructed, so no policy must allow inline styles. */
export function styleSheet() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host {
      --accent: var(--littoral-accent, light-dark(#0b6b73, #6fd0d8));
      --on-accent: light-dark(#fff, #06282b);
      --text: light-dark(#16232b, #e8eef0);
      --muted: light-dark(#52616b, #a3b2b9);
      --line: light-dark(#d5dde1, #33434b);
      display: block; background: var(--littoral-ground, light-dark(#f7f9fa, #10191e)); color: var(--text); font: 1rem/1.5 system-ui, sans-serif;
    }
    *, *::before { box-sizing: border-box; }
    [hidden] { display: none !important; }
    [part=controls] { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; }
    label, button {
      display: inline-flex; align-items: center; min-height: 2.75rem; padding: 0 1rem; border: 1px solid var(--accent);
      border-radius: .5rem; background: none; color: var(--accent); font: inherit; cursor: pointer;
    }
    label { position: relative; background: var(--accent); color: var(--on-accent); }
    label input { position: absolute; inset: 0; width: 100%; opacity: 0; cursor: pointer; }
    [part=text] {
      flex: 1 1 12rem; min-height: 2.75rem; padding: 0 .75rem; border: 1px solid var(--line); border-radius: .5rem;
      background: none; color: var(--text); font: inherit;
    }
    [part=text]:focus-visible, label:focus-within, button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
    progress { flex: 1 1 8rem; height: .5rem; accent-color: var(--accent); }
    [part=asked] { display: block; max-width: 100%; max-height: 16rem; margin-top: 1rem; border-radius: .5rem; }
    [part=status] { min-height: 1.5rem; margin: 1rem 0; color: var(--muted); overflow-wrap: anywhere; }
    :host([data-state=failed]) [part=status], :host([data-state=offline]) [part=status] { color: var(--text); font-weight: 600; }
    [part=hits] { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem; margin: 0; padding: 0; list-style: none; }
    li { display: flex; flex-wrap: wrap; justify-content: space-between; align-content: start; gap: .25rem .5rem; min-width: 0; overflow-wrap: anywhere; }
    li img { width: 100%; border: 1px solid var(--line); border-radius: .375rem; }
    [part=hits]:not(:has(img)) { grid-template-columns: 1fr; gap: .5rem; max-width: 44rem; }
    [part=hits]:not(:has(img)) li { flex-wrap: nowrap; }
    li :last-child { flex: none; color: var(--muted); font-variant-numeric: tabular-nums; }
  `);
  return sheet;
}
