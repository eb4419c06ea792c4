// Checks objects of custom resources against the schemas that @kubernetes-models carries.
// Standard input: a JSON array of objects. Standard output: a JSON array of complaints, one for each bad or unknown object.
import { text } from 'node:stream/consumers';

const groups = {
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
  'keda.sh/v1alpha1': '@kubernetes-models/keda/keda.sh/v1alpha1',
  'gateway.networking.k8s.io/v1': '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1',
};

async function complaint(object) {
  const title = `${object.kind}/${object.metadata.name}`;
  const path = groups[object.apiVersion];
  const Model = path && (await import(path))[object.kind];
  if (!Model) return `${title}: there is no schema for ${object.apiVersion}`;
  try {
    new Model(object).validate();
    return null;
  } catch (error) {
    return `${title}: ${error.message}`;
  }
}

const complaints = await Promise.all(JSON.parse(await text(process.stdin)).map(complaint));
process.stdout.write(JSON.stringify(complaints.filter(Boolean)));
