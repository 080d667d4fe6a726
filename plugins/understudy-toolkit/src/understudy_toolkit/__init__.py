"""Building blocks for authors of providers: functions and small values, no base classes.

lanes           one HTTP request and its reply, and the two ways they travel: the http lane and the vendor's SDK
http            the http lane; tls: certificates
sdk_lane        lanes through an SDK built on httpx; stainless: through one that Stainless has generated
transport       which lane an account is asked on
calls           ask and read: whole answers and streams, sync and async, with failures typed and times kept
account         what the settings say about an account: key, address, model, lane, and what is missing
sse, ndjson     a stream's bytes in, its events or lines out
clients         the life of clients, one for each event loop
bodies          bodies decoded, read and described; tool_calls: ids for tool calls that come with none
thinking        room to think beside the answer; model_rules: what is known of a vendor's models, with sources
conformance     the suite that certifies a provider
"""
