/** What is answered in the place of a result: the caller's fault from 400 on, this side's from 500 on. */
export class Refusal extends Error {
  /**
   * @param {number} status of HTTP
   * @param {string} message one line: what was wrong, what was expected
   * @param {Record<string, string>} [headers]
   */
  constructor(status, message, headers = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}
