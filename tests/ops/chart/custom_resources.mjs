// Checks objects of custom resources against the schemas that @kubernetes-models carries.
// Standard input: a JSON array of objects. Standard output: a JSON array of complaints, one for each bad or unknown object.
import { text } from 'node:stream/consumers';

const groups = {
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
  'keda.sh/v1alpha1': '@kubernetes-models/keda/keda.sh/v1alpha1',
  'gateway.networking.k8s.io/v1': '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1',
};

/** Wraps a value so that the paths that are read, and so known to a schema, are noted. */
function watched(value, path, read) {
  if (value === null || typeof value !== 'object') return value;
  return new Proxy(value, {
    get(target, name) {
      const below = `${path}.${String(name)}`;
      read.add(below);
      return watched(target[name], below, read);
    },
  });
}

/** Lists the paths of a value that nobody has read. The schemas allow them; a strict server does not. */
function unread(value, path, read) {
  if (value === null || typeof value !== 'object') return [];
  return Object.keys(value).flatMap((name) => {
    const below = `${path}.${name}`;
    return read.has(below) ? unread(value[name], below, read) : [below];
  });
}

async function complaint(object) {
  const title = `${object.kind}/${object.metadata.name}`;
  const path = groups[object.apiVersion];
  const Model = path && (await import(path))[object.kind];
  if (!Model) return `${title}: there is no schema for ${object.apiVersion}`;
  try {
    const read = new Set();
    const model = new Model(object);
    // Set afterwards: making a model copies, and so reads, everything.
    model.spec = watched(object.spec, 'spec', read);
    model.validate();
    const unknown = unread(object.spec, 'spec', read);
    return unknown.length ? `${title}: unknown fields ${unknown.join(', ')}` : null;
  } catch (error) {
    return `${title}: ${error.message}`;
  }
}

const complaints = await Promise.all(JSON.parse(await text(process.stdin)).map(complaint));
process.stdout.write(JSON.stringify(complaints.filter(Boolean)));
