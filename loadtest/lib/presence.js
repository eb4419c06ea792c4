// Who is in a topic, as a client knows it from `presence_state` and `presence_diff`.
// It only keeps the references; it never asks anybody.

export class Presence {
  constructor() {
    this.people = new Map();
    this.early = [];
    this.hasState = false;
  }

  // Takes the whole state, then the diffs that came before it.
  state(entries) {
    this.people = new Map(Object.entries(entries).map(([key, entry]) => [key, refs(entry)]));
    this.hasState = true;
    for (const diff of this.early.splice(0)) this.diff(diff);
  }

  // Joins count before leaves: an update is both.
  diff({ joins, leaves }) {
    if (!this.hasState) {
      this.early.push({ joins, leaves });
      return;
    }
    for (const [key, entry] of Object.entries(joins)) {
      this.people.set(key, new Set([...(this.people.get(key) || []), ...refs(entry)]));
    }
    for (const [key, entry] of Object.entries(leaves)) {
      const left = this.people.get(key);
      if (!left) continue;
      for (const ref of refs(entry)) left.delete(ref);
      if (left.size === 0) this.people.delete(key);
    }
  }

  // Forgets all, as after a loss: the next state starts anew.
  reset() {
    this.people = new Map();
    this.early = [];
    this.hasState = false;
  }

  // How many presences there are, a person with two sockets counted twice.
  get count() {
    let count = 0;
    for (const metas of this.people.values()) count += metas.size;
    return count;
  }
}

function refs(entry) {
  return new Set(entry.metas.map((meta) => meta.phx_ref));
}
