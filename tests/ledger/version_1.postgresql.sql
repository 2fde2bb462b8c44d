CREATE FUNCTION ledger_audit_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'ledger_audit is append-only'; END $$;
CREATE TABLE ledger_audit (
    sequence integer NOT NULL,
    at character varying(32) NOT NULL,
    request_id character varying(200) NOT NULL,
    from_state character varying(32),
    to_state character varying(32) NOT NULL,
    why character varying NOT NULL,
    run character varying NOT NULL,
    sha256 character varying NOT NULL
);
CREATE TABLE ledger_batches (
    batch_id character varying(32) NOT NULL,
    opened_at character varying(32) NOT NULL,
    finished_at character varying(32),
    passed boolean
);
CREATE TABLE ledger_files (
    sha256 character varying(64) NOT NULL,
    file character varying NOT NULL,
    at character varying(32) NOT NULL,
    run character varying NOT NULL
);
CREATE TABLE ledger_rejections (
    number integer NOT NULL,
    file character varying NOT NULL,
    "row" integer NOT NULL,
    reasons json NOT NULL,
    at character varying(32) NOT NULL
);
CREATE SEQUENCE ledger_rejections_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE ledger_rejections_number_seq OWNED BY ledger_rejections.number;
CREATE TABLE ledger_requests (
    request_id character varying(200) NOT NULL,
    state character varying(32) NOT NULL,
    received_at character varying(32) NOT NULL,
    due_at character varying(32) NOT NULL,
    batch_id character varying(32),
    origin character varying NOT NULL,
    content text NOT NULL,
    content_sha256 character varying NOT NULL
);
CREATE TABLE ledger_schema (
    version integer NOT NULL
);
ALTER TABLE ONLY ledger_rejections ALTER COLUMN number SET DEFAULT nextval('ledger_rejections_number_seq'::regclass);
INSERT INTO ledger_audit VALUES (1, '2026-11-25T21:20:41.424601+00:00', 'r0', NULL, 'received', 'file 3b9c358f36f0', 'run-1', 'a484707f3810827eea547cc30476a7a2fbd6e46bc63a8800cc3ac37fc7f69a89');
INSERT INTO ledger_audit VALUES (2, '2026-11-25T21:20:41.424601+00:00', 'r1', NULL, 'received', 'file 3b9c358f36f0', 'run-1', '9d00bffe8ca137f0c3402bc91b8a4246f4f53421926231706cef07deee6e9339');
INSERT INTO ledger_audit VALUES (3, '2026-11-25T21:20:41.424601+00:00', 'r2', NULL, 'received', 'file 3b9c358f36f0', 'run-1', '17f4f0df7ce66d7f6dec935b5658dc6ffb38d9a92b29f22176d1697bec4ee57d');
INSERT INTO ledger_audit VALUES (4, '2026-11-25T21:20:41.424601+00:00', 'r3', NULL, 'received', 'file 3b9c358f36f0', 'run-1', '69519b6288192152abd23deb7e9cd9f1c8e37bf9608d60ef2bebfbdf413f210a');
INSERT INTO ledger_audit VALUES (5, '2026-11-25T21:20:41.424601+00:00', 'r4', NULL, 'received', 'file 3b9c358f36f0', 'run-1', 'e104b2dfe683642dcfab48a999f198960299a05a7c800f06fc3c158e677b17fa');
INSERT INTO ledger_audit VALUES (6, '2026-11-25T21:20:41.424601+00:00', 'r5', NULL, 'received', 'file 3b9c358f36f0', 'run-1', '124f1a16f70fb3711c3fac9d7cbb70e06a296cdb3fa3133eb75e823cf52ffed1');
INSERT INTO ledger_audit VALUES (7, '2026-11-25T21:20:41.424601+00:00', 'r6', NULL, 'received', 'file 3b9c358f36f0', 'run-1', '2a6ebe27e3a9a1ced91dcd47e49ebd2924e7c790a7be3198aab1a39c39d010d6');
INSERT INTO ledger_audit VALUES (8, '2026-11-25T21:20:41.424601+00:00', 'r7', NULL, 'received', 'file 3b9c358f36f0', 'run-1', 'c3f0b9c03b3e3829f73af383118c47ad922ad74f52e3924af590f9c0154d25b3');
INSERT INTO ledger_audit VALUES (9, '2026-11-25T21:20:41.424601+00:00', 'zoe@example.org', NULL, 'received', 'file 3b9c358f36f0', 'run-1', '688ec31c2ee771519672942febf634aaa48c5ee2f0c561666c7ac5a8b411e1ca');
INSERT INTO ledger_audit VALUES (10, '2026-11-25T21:20:41.429646+00:00', 'r0', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', '41d932b05e2fe4c3cc59856fb871011f47d3702cac3dc50c195fd0e40e74d1aa');
INSERT INTO ledger_audit VALUES (11, '2026-11-25T21:20:41.429646+00:00', 'r1', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', 'd109010108c8a8cadd0f553500c74b76e7289a1774e84e0bf841da3084f8e694');
INSERT INTO ledger_audit VALUES (12, '2026-11-25T21:20:41.429646+00:00', 'r2', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', 'b841ec6d6435efbc250098f0e411891f5e169ee76a18dc8aee5e002a892a0702');
INSERT INTO ledger_audit VALUES (13, '2026-11-25T21:20:41.429646+00:00', 'r3', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', 'b9b35c3f7367bfc4427aa50156368d86d0c2850aa238d7d4dece456cec31ec63');
INSERT INTO ledger_audit VALUES (14, '2026-11-25T21:20:41.429646+00:00', 'r4', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', '579537782c22e85542c1471fd62474391dc2161c78461c259a9c2be8126327e1');
INSERT INTO ledger_audit VALUES (15, '2026-11-25T21:20:41.429646+00:00', 'r5', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', '27375741fb80a7aa677b68aa36694c08b23e0151650bbb89233319aaaf6c9bfe');
INSERT INTO ledger_audit VALUES (16, '2026-11-25T21:20:41.429646+00:00', 'r6', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', 'fea6e76849674a158d642591dcc6a9117cb93308f63e89bd6e9972803ac94930');
INSERT INTO ledger_audit VALUES (17, '2026-11-25T21:20:41.429646+00:00', 'r7', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', '955b8cf2540d4effd71bcb0c0c3641aae98e8878df6711dddb90653655180a73');
INSERT INTO ledger_audit VALUES (18, '2026-11-25T21:20:41.429646+00:00', 'zoe@example.org', 'received', 'validated', 'file 3b9c358f36f0', 'run-1', 'd41d3583f033b09621b45ee5add0d886e0054fb34ab02a716661f802be256aad');
INSERT INTO ledger_audit VALUES (19, '2026-11-25T21:20:41.449921+00:00', 'zoe@example.org', 'validated', 'batched', 'batch 20261125-212041-45d914', 'run-2', '64cf93c05106b706b7edf0539918537f975449292d00d71e90bf02c47d72c23e');
INSERT INTO ledger_audit VALUES (20, '2026-11-25T21:20:41.449921+00:00', 'r0', 'validated', 'batched', 'batch 20261125-212041-45d914', 'run-2', '01c835b45f5eb04030421fb4c62defb31816fe58a5e18f7b52123d1ddda17145');
INSERT INTO ledger_audit VALUES (21, '2026-11-25T21:20:41.449921+00:00', 'r1', 'validated', 'batched', 'batch 20261125-212041-45d914', 'run-2', '8be4e04cf3af98db3d51e6f23a70394c36fd9e9401e3d3dd6bd38508e51c2861');
INSERT INTO ledger_audit VALUES (22, '2026-11-25T21:20:41.457605+00:00', 'zoe@example.org', 'batched', 'no_match', 'batch 20261125-212041-45d914: nothing in the corpus', 'run-2', '1765249e199523fe4ae6a4fce2e982a943fec9e948d9d933bd6e244fc7b2bb38');
INSERT INTO ledger_audit VALUES (23, '2026-11-25T21:20:41.461851+00:00', 'r0', 'batched', 'unlearned', 'batch 20261125-212041-45d914', 'run-2', '88ee72759749fc935dd9a065c74bdc25d144665c2dde892ae348627352b4ffd9');
INSERT INTO ledger_audit VALUES (24, '2026-11-25T21:20:41.461851+00:00', 'r1', 'batched', 'unlearned', 'batch 20261125-212041-45d914', 'run-2', '671a4f173806cd8e8316c6b9fc0f13543ee51e22d2a7cba19cb47f6714f5299b');
INSERT INTO ledger_audit VALUES (25, '2026-11-25T21:20:41.466515+00:00', 'r0', 'unlearned', 'awaiting_promotion', 'batch 20261125-212041-45d914: all gates passed', 'run-2', '1114be73fe899ef123a8c61037b7e198d02ed5b9ab7e3b63125ac72a2211ddae');
INSERT INTO ledger_audit VALUES (26, '2026-11-25T21:20:41.466515+00:00', 'r1', 'unlearned', 'awaiting_promotion', 'batch 20261125-212041-45d914: all gates passed', 'run-2', '998271aae540e62954c6c13295e59ee860bda60c9411c7d1a9fb5400bc6257b5');
INSERT INTO ledger_audit VALUES (27, '2026-11-25T21:20:41.471715+00:00', 'r2', 'validated', 'batched', 'batch 20261125-212041-bbc24f', 'run-3', '358095125fdca2c203155f265d30121775ea992a61015b9c81b16cebcee41bee');
INSERT INTO ledger_audit VALUES (28, '2026-11-25T21:20:41.471715+00:00', 'r3', 'validated', 'batched', 'batch 20261125-212041-bbc24f', 'run-3', '2ce2eea791286da80cf82d3cc4ad4307615a0dcae1c38d28f3b62748eb988cdb');
INSERT INTO ledger_audit VALUES (29, '2026-11-25T21:20:41.475726+00:00', 'r2', 'batched', 'failed', 'batch 20261125-212041-bbc24f: gate forget failed', 'run-3', 'cbaddf9bc343cde6c127e1da4c6008de5023be145babd0fef2aab92d7025555a');
INSERT INTO ledger_audit VALUES (30, '2026-11-25T21:20:41.475726+00:00', 'r3', 'batched', 'failed', 'batch 20261125-212041-bbc24f: gate forget failed', 'run-3', '72f2efaad5ef2a8c4ffb2a9b71cc52bb724505ccbd7a98227dcad9136b35c5c8');
INSERT INTO ledger_audit VALUES (31, '2026-11-25T21:20:41.480270+00:00', 'r2', 'failed', 'batched', 'batch 20261125-212041-3a0e91', 'run-4', 'c40a9cfbac169e17c60d8d2a9c3e715ddccf09258c1b827f75e310fee4034ad8');
INSERT INTO ledger_audit VALUES (32, '2026-11-25T21:20:41.483687+00:00', 'r2', 'batched', 'unlearned', 'batch 20261125-212041-3a0e91', 'run-4', '36a0d36315e7d7c68b15aa1e548851a70743c97ae7a993f6a49c78c48801c118');
INSERT INTO ledger_audit VALUES (33, '2026-11-25T21:20:41.486911+00:00', 'r2', 'unlearned', 'failed', 'batch 20261125-212041-3a0e91: gate forget failed', 'run-4', 'fa779a51ff6bfd2e90895894ecdc20480f818984534a5dc7139a4dc94e8755a5');
INSERT INTO ledger_audit VALUES (34, '2026-11-25T21:20:41.490658+00:00', 'r4', 'validated', 'batched', 'batch 20261125-212041-e405db', 'run-5', '2869414564ccfd1e4355f219b318f3e02dd178248ba232fd6e779142760b0038');
INSERT INTO ledger_audit VALUES (35, '2026-11-25T21:20:41.490658+00:00', 'r5', 'validated', 'batched', 'batch 20261125-212041-e405db', 'run-5', 'f152d863c71abbe88c82280f7d60885541856935229bff037745ebead3d50e19');
INSERT INTO ledger_audit VALUES (36, '2026-11-25T21:20:41.493864+00:00', 'r4', 'batched', 'no_match', 'batch 20261125-212041-e405db: nothing in the corpus', 'run-5', '5853fb329a8017aadc6dc92e81cc9292265f27ed7a438d1e86256f37742ed7be');
INSERT INTO ledger_batches VALUES ('20261125-212041-45d914', '2026-11-25T21:20:41.447643+00:00', '2026-11-25T21:20:41.466794+00:00', true);
INSERT INTO ledger_batches VALUES ('20261125-212041-bbc24f', '2026-11-25T21:20:41.470697+00:00', '2026-11-25T21:20:41.475912+00:00', false);
INSERT INTO ledger_batches VALUES ('20261125-212041-3a0e91', '2026-11-25T21:20:41.479311+00:00', '2026-11-25T21:20:41.487030+00:00', false);
INSERT INTO ledger_batches VALUES ('20261125-212041-e405db', '2026-11-25T21:20:41.489716+00:00', NULL, NULL);
INSERT INTO ledger_files VALUES ('3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80', 'file.jsonl', '2026-11-25T21:20:41.416202+00:00', 'run-1');
INSERT INTO ledger_files VALUES ('3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d', 'b.jsonl', '2026-11-25T21:20:41.435095+00:00', 'run-1b');
INSERT INTO ledger_rejections VALUES (1, 'b.jsonl', 1, '["is not JSON"]', '2026-11-25T21:20:41.435095+00:00');
INSERT INTO ledger_rejections VALUES (2, 'b.jsonl', 2, '["request_id r1 was taken in before with other content (a.jsonl:2); give it an id of its own"]', '2026-11-25T21:20:41.435095+00:00');
INSERT INTO ledger_requests VALUES ('r6', 'validated', '2026-03-01T12:00:00.000000+00:00', '2026-03-31T12:00:00.000000+00:00', NULL, 'a.jsonl:7', '{"request_id":"r6","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":7}', 'fc8b2031bbe5cd639c9aa07f8ded5e1e33004dfb4ad5dcfd69ac84bdb654e0fc');
INSERT INTO ledger_requests VALUES ('r7', 'validated', '2026-03-01T12:00:00.000000+00:00', '2026-03-31T12:00:00.000000+00:00', NULL, 'a.jsonl:8', '{"request_id":"r7","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":8}', '9de189b61972eb32d4b8f836ec8f02887317d963051d0831790a1c2c7282d741');
INSERT INTO ledger_requests VALUES ('zoe@example.org', 'no_match', '2026-03-01T12:00:00.000000+00:00', '2026-03-02T12:00:00.000000+00:00', '20261125-212041-45d914', 'a.jsonl:9', '{"request_id":"zoe@example.org","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-02T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":9}', '20256592058e3b97e614e21c93640bf867460f699dd584feeb30cc2146e018a1');
INSERT INTO ledger_requests VALUES ('r0', 'awaiting_promotion', '2026-03-01T12:00:00.000000+00:00', '2026-03-31T12:00:00.000000+00:00', '20261125-212041-45d914', 'a.jsonl:1', '{"request_id":"r0","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":1}', 'e24f00b400a2787d95b58b3d76b5b76099754a8bff6860e84662ef2fa714c43d');
INSERT INTO ledger_requests VALUES ('r1', 'awaiting_promotion', '2026-03-01T12:00:00.000000+00:00', '2026-03-31T12:00:00.000000+00:00', '20261125-212041-45d914', 'a.jsonl:2', '{"request_id":"r1","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":2}', 'f41c1fe224b308deb6582ce2ef12cfd4b79c1675ba9a73e7d195393064cbaf60');
INSERT INTO ledger_requests VALUES ('r3', 'failed', '2026-03-01T12:00:00.000000+00:00', '2026-03-31T12:00:00.000000+00:00', '20261125-212041-bbc24f', 'a.jsonl:4', '{"request_id":"r3","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":4}', '3ee7e8ce108af732d970c379414979c0515c13a05af8f0592cbdc4a92e70ef8e');
INSERT INTO ledger_requests VALUES ('r2', 'failed', '2026-03-01T12:00:00.000000+00:00', '2026-03-31T12:00:00.000000+00:00', '20261125-212041-3a0e91', 'a.jsonl:3', '{"request_id":"r2","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":3}', '384f884adbfc0fdf2de1df2b705d3d097109d9f49ba346203ff7d297609b43cf');
INSERT INTO ledger_requests VALUES ('r5', 'batched', '2026-03-01T12:00:00.000000+00:00', '2026-03-31T12:00:00.000000+00:00', '20261125-212041-e405db', 'a.jsonl:6', '{"request_id":"r5","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":6}', '68506b2d6e26a10eae3c5df66233cd1206d7437b0d0e646cb9ab69aa1fafa212');
INSERT INTO ledger_requests VALUES ('r4', 'no_match', '2026-03-01T12:00:00.000000+00:00', '2026-03-31T12:00:00.000000+00:00', '20261125-212041-e405db', 'a.jsonl:5', '{"request_id":"r4","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":5}', 'be5e7ea8a867b2e8b8b87b939e652c7f58baee41e3985aed7e492232b55a824f');
INSERT INTO ledger_schema VALUES (1);
SELECT pg_catalog.setval('ledger_rejections_number_seq', 2, true);
ALTER TABLE ONLY ledger_audit
    ADD CONSTRAINT ledger_audit_pkey PRIMARY KEY (sequence);
ALTER TABLE ONLY ledger_batches
    ADD CONSTRAINT ledger_batches_pkey PRIMARY KEY (batch_id);
ALTER TABLE ONLY ledger_files
    ADD CONSTRAINT ledger_files_pkey PRIMARY KEY (sha256);
ALTER TABLE ONLY ledger_rejections
    ADD CONSTRAINT ledger_rejections_pkey PRIMARY KEY (number);
ALTER TABLE ONLY ledger_requests
    ADD CONSTRAINT ledger_requests_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY ledger_schema
    ADD CONSTRAINT ledger_schema_pkey PRIMARY KEY (version);
CREATE INDEX ix_ledger_audit_request_id ON ledger_audit USING btree (request_id);
CREATE INDEX ix_ledger_requests_batch_id ON ledger_requests USING btree (batch_id);
CREATE INDEX ix_ledger_requests_state ON ledger_requests USING btree (state);
CREATE TRIGGER ledger_audit_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger_audit FOR EACH STATEMENT EXECUTE FUNCTION ledger_audit_refuse();
