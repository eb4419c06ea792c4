// The end of a run: a page for people on standard output, and all of it as JSON.
// The file is SUMMARY (default <script>.summary.json in the working directory; `off` for none).

import { given } from './options.js';

const WIDTH = 26;
// What the page counts beside the deliveries.
const COUNTED = /^(ws_closes|ws_refused|ws_reconnects|broadcasts_resumed|(join|held|refused)_ok)/;

// Makes `handleSummary`. `plan`: what the run was told, as named values.
export function summary(script, plan) {
  return (result) => {
    const report = describe(script, plan, result);
    const files = { stdout: page(report) };
    const file = given('SUMMARY') ?? `${script}.summary.json`;
    if (file !== 'off') files[file] = `${JSON.stringify(report, null, 2)}\n`;
    return files;
  };
}

// The result in one flat object, which later runs can be compared with.
export function describe(script, plan, result) {
  const metrics = {};
  const thresholds = [];
  for (const [name, metric] of Object.entries(result.metrics).sort()) {
    metrics[name] = metric.values;
    for (const [rule, { ok }] of Object.entries(metric.thresholds ?? {})) thresholds.push({ metric: name, rule, ok });
  }
  thresholds.sort((a, b) => a.ok - b.ok || a.metric.localeCompare(b.metric));
  const checks = allChecks(result.root_group).map(({ name, passes, fails }) => ({ name, passes, fails }));
  return {
    script,
    passed: thresholds.every(({ ok }) => ok),
    seconds: Math.round(result.state.testRunDurationMs / 100) / 10,
    plan,
    delivery_ratio: ratio(metrics),
    thresholds,
    checks,
    metrics,
  };
}

// What a person reads: the verdict, what was delivered, how fast, and what failed.
export function page({ script, passed, seconds, plan, delivery_ratio: delivered, thresholds, checks, metrics }) {
  const lines = ['', `${script}: ${passed ? 'passed' : 'FAILED'} in ${seconds} s`, ''];
  const row = (name, text) => lines.push(`  ${name.padEnd(WIDTH)}${text}`);
  row('plan', Object.entries(plan).map(([name, value]) => `${name}=${value}`).join(' '));
  if (delivered !== null) {
    const of = (name) => metrics[name]?.count ?? 0;
    row('delivered', `${percent(delivered)} (${of('broadcasts_received')} of ${metrics.delivery_ok.passes + metrics.delivery_ok.fails})`);
    row('twice, out of order, gaps', `${of('broadcasts_duplicated')}, ${of('broadcasts_out_of_order')}, ${of('gaps')}`);
  }
  for (const [name, values] of Object.entries(metrics)) {
    if (!name.endsWith('_ms') || !(values.max > 0)) continue;
    row(name, ['med', 'p(95)', 'p(99)', 'max'].map((stat) => `${stat} ${milliseconds(values[stat])}`).join('  '));
  }
  for (const [name, values] of Object.entries(metrics)) {
    if (COUNTED.test(name)) {
      row(name, values.count ?? `${percent(values.rate)} of ${values.passes + values.fails}`);
    }
  }
  lines.push('');
  for (const { name, passes, fails } of checks) lines.push(`  ${fails === 0 ? 'ok  ' : 'FAIL'} check: ${name} (${passes} of ${passes + fails})`);
  for (const { metric, rule, ok } of thresholds) lines.push(`  ${ok ? 'ok  ' : 'FAIL'} threshold: ${metric} ${rule}`);
  return `${lines.join('\n')}\n\n`;
}

function ratio(metrics) {
  const rate = metrics.delivery_ok;
  return rate === undefined || rate.passes + rate.fails === 0 ? null : rate.passes / (rate.passes + rate.fails);
}

function allChecks(group) {
  return [...(group.checks ?? []), ...(group.groups ?? []).flatMap(allChecks)];
}

function percent(share) {
  // Rounded down, so that one lost message never reads as 100 %.
  return `${Math.floor(share * 1e6) / 1e4} %`;
}

function milliseconds(value) {
  if (value === undefined) return '-';
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}
