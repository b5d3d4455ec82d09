import { expect, it } from "vitest";
import { parseConfigFile } from "./config-file.ts";

it("takes known keys as the texts that variables would have, and skips what the server does not know", () => {
  const text = `{
    "domain": "https://x/\\"quoted\\"",
    "signups_allowed": false,
    "smtp_port": 587,
    "user_attachment_limit": -1,
    "hibp_api_key": null,
    "_enable_duo": true,
    "some_later_setting": {"domain": [1, "]", {"smtp_port": "x"}]},
    "some_later_setting": 1.5
  }`;
  const reading = parseConfigFile(text);
  expect(reading).toMatchObject({ isAccepted: true });
  expect(Object.fromEntries(reading.isAccepted ? reading.values : [])).toEqual({
    domain: 'https://x/"quoted"',
    signups_allowed: "false",
    smtp_port: "587",
    user_attachment_limit: "-1",
    _enable_duo: "true",
  });
});

it.each([
  ["", "not valid JSON"],
  ['{"domain":"https://x"', "not valid JSON"],
  ["{'domain':1}", "not valid JSON"],
  ["[]", "no JSON object"],
  ["null", "no JSON object"],
  ['{"domain":"a","domain":"b"}', "domain twice"],
  ['{"domain":"a","d\\u006fmain":"a"}', "domain twice"],
  ['{"domain":1}', "domain is not of type text"],
  ['{"domain":["a"]}', "domain is not of type text"],
  ['{"domain":"\\ud800"}', "domain is not of type text"],
  ['{"signups_allowed":"true"}', "signups_allowed is not of type boolean"],
  ['{"signups_allowed":1}', "signups_allowed is not of type boolean"],
  ['{"smtp_port":"587"}', "smtp_port is not of type u16"],
  ['{"smtp_port":65536}', "smtp_port is not of type u16"],
  ['{"smtp_port":-1}', "smtp_port is not of type u16"],
  ['{"smtp_port":25.0}', "smtp_port is not of type u16"],
  ['{"job_poll_interval_ms":18446744073709551616}', "job_poll_interval_ms is not of type u64"],
  ['{"password_iterations":2147483648}', "password_iterations is not of type i32"],
])("drops all of %s, as the server does", (text, reason) => {
  expect(parseConfigFile(text)).toMatchObject({
    isAccepted: false,
    reason: expect.stringContaining(reason),
  });
});

it("still tells what the dropped file would have set", () => {
  const reading = parseConfigFile('{"database_url":"sqlite:///x","smtp_port":"25"}');
  expect(reading).toMatchObject({ isAccepted: false, keys: ["database_url", "smtp_port"] });
});

it("has the bounds of each type right", () => {
  const accepts = (text: string): boolean => parseConfigFile(text).isAccepted;
  expect(accepts('{"smtp_port":65535,"email_token_size":255}')).toBe(true);
  expect(accepts('{"job_poll_interval_ms":18446744073709551615}')).toBe(true);
  expect(accepts('{"password_iterations":2147483647,"user_send_limit":-9223372036854775808}')).toBe(
    true,
  );
});
