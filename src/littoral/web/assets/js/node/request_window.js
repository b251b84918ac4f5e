/** The requests of the last minutes. Pure: the time is an argument. */

const COUNT_MAX = 3600;

export class RequestWindow {
  #requests = [];
  #spanS;

  /** spanS: how long a request is kept. At most 3600 are, whatever their age. */
  constructor(spanS) {
    this.#spanS = spanS;
  }

  get requests() {
    return this.#requests;
  }

  /** Takes `{pipeline, at, total_ms, ok}` in its place by time: workers may tell of them out of order. */
  add(request) {
    let place = this.#requests.length;
    while (place > 0 && this.#requests[place - 1].at > request.at) place -= 1;
    this.#requests.splice(place, 0, request);
    if (this.#requests.length > COUNT_MAX) this.#requests.shift();
  }

  forgetBefore(now) {
    const kept = this.#requests.findIndex(({ at }) => at >= now - this.#spanS);
    this.#requests.splice(0, kept < 0 ? this.#requests.length : kept);
  }

  /** Times, milliseconds by pipeline in the order of `names`, milliseconds of those that failed. */
  columns(names) {
    const only = (holds) => this.#requests.map((request) => (holds(request) ? request.total_ms : null));
    return [
      this.#requests.map(({ at }) => at),
      ...names.map((name) => only(({ pipeline, ok }) => ok && pipeline === name)),
      only(({ ok }) => !ok),
    ];
  }
}
