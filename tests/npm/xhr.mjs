// What phoenix before 1.8 needs for long-poll and node lacks: an XMLHttpRequest, on fetch.
// It never retries or hides a failure; only what those clients use of it is here.

export class XMLHttpRequest {
  readyState = 0;
  status = 0;
  responseText = "";
  timeout = 0;
  #headers = {};
  #stop = new AbortController();

  open(method, url) {
    this.method = method;
    this.url = url;
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  abort() {
    this.#stop.abort();
  }

  async send(body) {
    const late = this.timeout ? setTimeout(() => this.#end("ontimeout"), this.timeout) : undefined;
    try {
      const init = { method: this.method, headers: this.#headers, signal: this.#stop.signal };
      if (this.method !== "GET") init.body = body;
      const answer = await fetch(this.url, init);
      this.responseText = await answer.text();
      this.status = answer.status;
    } catch {
      if (!this.#stop.signal.aborted) this.onerror?.();
      return;
    } finally {
      clearTimeout(late);
    }
    // What a client throws here is the client's, and ends the script, as it shows in a browser's console.
    this.readyState = 4;
    this.onreadystatechange?.();
  }

  #end(event) {
    this.#stop.abort();
    this[event]?.();
  }
}
