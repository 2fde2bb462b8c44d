BEGIN TRANSACTION;
CREATE TABLE ledger_audit (
	sequence INTEGER NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	request_id VARCHAR(200) NOT NULL, 
	from_state VARCHAR(32), 
	to_state VARCHAR(32) NOT NULL, 
	why VARCHAR NOT NULL, 
	run VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	PRIMARY KEY (sequence)
);
INSERT INTO "ledger_audit" VALUES(1,'2026-11-25T21:20:18.149365+00:00','r0',NULL,'received','file 3b9c358f36f0','run-1','ea3a164fa0a2c19ca4b1713a25ce1e65d1fdd1e1d3a7b74cc8f6776066f0897e');
INSERT INTO "ledger_audit" VALUES(2,'2026-11-25T21:20:18.149365+00:00','r1',NULL,'received','file 3b9c358f36f0','run-1','e6673fcceb3d71df50937145e6a284ae28af9021a2d486d540a93582ec79e076');
INSERT INTO "ledger_audit" VALUES(3,'2026-11-25T21:20:18.149365+00:00','r2',NULL,'received','file 3b9c358f36f0','run-1','8efb7278f1efa43205a778315b06d2dbe77742a3d1595830583b0a525763e259');
INSERT INTO "ledger_audit" VALUES(4,'2026-11-25T21:20:18.149365+00:00','r3',NULL,'received','file 3b9c358f36f0','run-1','47a01aa88eb7c061a040dc8981a50056c538ffe698819ea7177cf248820cbc8c');
INSERT INTO "ledger_audit" VALUES(5,'2026-11-25T21:20:18.149365+00:00','r4',NULL,'received','file 3b9c358f36f0','run-1','3e767d9476dc94c6d02f65b8f083e8d68e4044064a130e6725c1821fde5ea6eb');
INSERT INTO "ledger_audit" VALUES(6,'2026-11-25T21:20:18.149365+00:00','r5',NULL,'received','file 3b9c358f36f0','run-1','d2ef8dbdcce1509ebee9ac29248beabab6dec89848c7e6265887e8e055623120');
INSERT INTO "ledger_audit" VALUES(7,'2026-11-25T21:20:18.149365+00:00','r6',NULL,'received','file 3b9c358f36f0','run-1','4fa3410f433c3c102d5304a60b68e77a59f972a9abc3702a8f92371f595bc45f');
INSERT INTO "ledger_audit" VALUES(8,'2026-11-25T21:20:18.149365+00:00','r7',NULL,'received','file 3b9c358f36f0','run-1','1016fe7916c06a479788007e6673bc4be2c687eecd8e18a4029ad39d43ce400e');
INSERT INTO "ledger_audit" VALUES(9,'2026-11-25T21:20:18.149365+00:00','zoe@example.org',NULL,'received','file 3b9c358f36f0','run-1','cc7e9ebadbe17483e95ba099fa5b002bca0cf33c92044df6ec776646f3a34636');
INSERT INTO "ledger_audit" VALUES(10,'2026-11-25T21:20:18.151881+00:00','r0','received','validated','file 3b9c358f36f0','run-1','d858133f75c6175f7155aaba2dda4c0c5dd459c9e37cf2bf137eb4e9b57b81cb');
INSERT INTO "ledger_audit" VALUES(11,'2026-11-25T21:20:18.151881+00:00','r1','received','validated','file 3b9c358f36f0','run-1','5d524389a8c5671a21f40f80784d80ef19de0521c54b56654df33904be6ae66e');
INSERT INTO "ledger_audit" VALUES(12,'2026-11-25T21:20:18.151881+00:00','r2','received','validated','file 3b9c358f36f0','run-1','a2139c85278680eebf0a5372b22afc15bb8060713e2885d3af973a689e87abf8');
INSERT INTO "ledger_audit" VALUES(13,'2026-11-25T21:20:18.151881+00:00','r3','received','validated','file 3b9c358f36f0','run-1','5b8557aa63342b9a664ae2c9e537245d1a956f973b681a94c2b24057a15e2a8c');
INSERT INTO "ledger_audit" VALUES(14,'2026-11-25T21:20:18.151881+00:00','r4','received','validated','file 3b9c358f36f0','run-1','4312174b498a009832a791756a4a4a5aa3ae233f4c2614ce49ec37da4295294e');
INSERT INTO "ledger_audit" VALUES(15,'2026-11-25T21:20:18.151881+00:00','r5','received','validated','file 3b9c358f36f0','run-1','f9072aff12031bf34e3468b6db05bb6bcd4777c9c5a1f06ce6858c149d6e32cf');
INSERT INTO "ledger_audit" VALUES(16,'2026-11-25T21:20:18.151881+00:00','r6','received','validated','file 3b9c358f36f0','run-1','4b4ad81e75d2f4c2bc00518f6487fc1e95743cb974a1557147c3412357869fda');
INSERT INTO "ledger_audit" VALUES(17,'2026-11-25T21:20:18.151881+00:00','r7','received','validated','file 3b9c358f36f0','run-1','e3cf3cc6c7431f0817609faef7d8eb521de250894dc9f51d116d45f2c70ffd47');
INSERT INTO "ledger_audit" VALUES(18,'2026-11-25T21:20:18.151881+00:00','zoe@example.org','received','validated','file 3b9c358f36f0','run-1','4d1d751dbad768f8492945e1e1a830e669fa9e3852157f6436b3654cf259efc7');
INSERT INTO "ledger_audit" VALUES(19,'2026-11-25T21:20:18.211298+00:00','zoe@example.org','validated','batched','batch 20261125-212018-03daa9','run-2','abc40564e8235b41ad8cf1fd5dfd07b229242926e0e53544dd27b4242853c78e');
INSERT INTO "ledger_audit" VALUES(20,'2026-11-25T21:20:18.211298+00:00','r0','validated','batched','batch 20261125-212018-03daa9','run-2','7281937da9cfae62429804b099f057d4b50a64c1e8103e517be147ef9dd3e837');
INSERT INTO "ledger_audit" VALUES(21,'2026-11-25T21:20:18.211298+00:00','r1','validated','batched','batch 20261125-212018-03daa9','run-2','c768019c53c5e9ac22d8bab5bc334c7762c84b63cb4ac70ba68a605016e25f12');
INSERT INTO "ledger_audit" VALUES(22,'2026-11-25T21:20:18.237566+00:00','zoe@example.org','batched','no_match','batch 20261125-212018-03daa9: nothing in the corpus','run-2','8b1db76bc13c4d73c73ab277a9399b3778c70f8d0f90b4ff78e38c0e05735571');
INSERT INTO "ledger_audit" VALUES(23,'2026-11-25T21:20:18.295080+00:00','r0','batched','unlearned','batch 20261125-212018-03daa9','run-2','3567fe60495f89a08bf84df50fe096758349a87c3adabae6bad57c6004de4516');
INSERT INTO "ledger_audit" VALUES(24,'2026-11-25T21:20:18.295080+00:00','r1','batched','unlearned','batch 20261125-212018-03daa9','run-2','ae48dd0e0528df0ffea24403386825085cd2c7b8cd00bf7d4b05f686f767fea4');
INSERT INTO "ledger_audit" VALUES(25,'2026-11-25T21:20:18.320527+00:00','r0','unlearned','awaiting_promotion','batch 20261125-212018-03daa9: all gates passed','run-2','673e1777b956970b15934bde956def0cb67a5b987f625c5e70951fcfa70b4f72');
INSERT INTO "ledger_audit" VALUES(26,'2026-11-25T21:20:18.320527+00:00','r1','unlearned','awaiting_promotion','batch 20261125-212018-03daa9: all gates passed','run-2','8e3b1bd2a38f03d4b32cadaa503719380e53e8f3c8a9ff18ad5f0f6b4eeacaeb');
INSERT INTO "ledger_audit" VALUES(27,'2026-11-25T21:20:18.345051+00:00','r2','validated','batched','batch 20261125-212018-783d17','run-3','12ed4b78e7e84bef444c303875dbc03dc75303cab91d3cd3be20de9246b757f3');
INSERT INTO "ledger_audit" VALUES(28,'2026-11-25T21:20:18.345051+00:00','r3','validated','batched','batch 20261125-212018-783d17','run-3','387ffc2e6c3e42d9a2c4511a81f23b70a78bd88a5a54eab41474e05b4928f90f');
INSERT INTO "ledger_audit" VALUES(29,'2026-11-25T21:20:18.432414+00:00','r2','batched','failed','batch 20261125-212018-783d17: gate forget failed','run-3','ad2ef5ff961cd903e8f258fd5e82191d70e0a481215a160c196de27a8b34bb5d');
INSERT INTO "ledger_audit" VALUES(30,'2026-11-25T21:20:18.432414+00:00','r3','batched','failed','batch 20261125-212018-783d17: gate forget failed','run-3','95cc60918004157945355e2b9ffdfc5d85a12160a483b3062bbaed863355d311');
INSERT INTO "ledger_audit" VALUES(31,'2026-11-25T21:20:18.457014+00:00','r2','failed','batched','batch 20261125-212018-6ab457','run-4','a4a53fdea016113e98227bdf07b9ce9637c05791ba4faaf3066b2a91db93ef6a');
INSERT INTO "ledger_audit" VALUES(32,'2026-11-25T21:20:18.480201+00:00','r2','batched','unlearned','batch 20261125-212018-6ab457','run-4','b4399bab957db91bf7f4f92b4062946ae32f1ae844eae0365e12cbb27052a46a');
INSERT INTO "ledger_audit" VALUES(33,'2026-11-25T21:20:18.500252+00:00','r2','unlearned','failed','batch 20261125-212018-6ab457: gate forget failed','run-4','e5e42ae62393c49a5900d1f13cbb92713696855467895282e7ecaaf73a10f1a5');
INSERT INTO "ledger_audit" VALUES(34,'2026-11-25T21:20:18.525084+00:00','r4','validated','batched','batch 20261125-212018-f4301c','run-5','1a57b7ac64d676af873af3e52d1c0f28ca39f21ea1d33739740cdce207c66e35');
INSERT INTO "ledger_audit" VALUES(35,'2026-11-25T21:20:18.525084+00:00','r5','validated','batched','batch 20261125-212018-f4301c','run-5','f9a225cd2aa2bf1f645ff09709d5a48a181cab5d86ddd9f84632f2a0d75c7aa4');
INSERT INTO "ledger_audit" VALUES(36,'2026-11-25T21:20:18.545602+00:00','r4','batched','no_match','batch 20261125-212018-f4301c: nothing in the corpus','run-5','d6529daa9e15372ab42545f0084b9d806a2e06f7864d33153ff88d6d1f8dfb58');
CREATE TABLE ledger_batches (
	batch_id VARCHAR(32) NOT NULL, 
	opened_at VARCHAR(32) NOT NULL, 
	finished_at VARCHAR(32), 
	passed BOOLEAN, 
	PRIMARY KEY (batch_id)
);
INSERT INTO "ledger_batches" VALUES('20261125-212018-03daa9','2026-11-25T21:20:18.210075+00:00','2026-11-25T21:20:18.320708+00:00',1);
INSERT INTO "ledger_batches" VALUES('20261125-212018-783d17','2026-11-25T21:20:18.344336+00:00','2026-11-25T21:20:18.432596+00:00',0);
INSERT INTO "ledger_batches" VALUES('20261125-212018-6ab457','2026-11-25T21:20:18.456243+00:00','2026-11-25T21:20:18.500421+00:00',0);
INSERT INTO "ledger_batches" VALUES('20261125-212018-f4301c','2026-11-25T21:20:18.524250+00:00',NULL,NULL);
CREATE TABLE ledger_files (
	sha256 VARCHAR(64) NOT NULL, 
	file VARCHAR NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	run VARCHAR NOT NULL, 
	PRIMARY KEY (sha256)
);
INSERT INTO "ledger_files" VALUES('3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80','file.jsonl','2026-11-25T21:20:18.143115+00:00','run-1');
INSERT INTO "ledger_files" VALUES('3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d','b.jsonl','2026-11-25T21:20:18.182984+00:00','run-1b');
CREATE TABLE ledger_rejections (
	number INTEGER NOT NULL, 
	file VARCHAR NOT NULL, 
	"row" INTEGER NOT NULL, 
	reasons JSON NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "ledger_rejections" VALUES(1,'b.jsonl',1,'["is not JSON"]','2026-11-25T21:20:18.182984+00:00');
INSERT INTO "ledger_rejections" VALUES(2,'b.jsonl',2,'["request_id r1 was taken in before with other content (a.jsonl:2); give it an id of its own"]','2026-11-25T21:20:18.182984+00:00');
CREATE TABLE ledger_requests (
	request_id VARCHAR(200) NOT NULL, 
	state VARCHAR(32) NOT NULL, 
	received_at VARCHAR(32) NOT NULL, 
	due_at VARCHAR(32) NOT NULL, 
	batch_id VARCHAR(32), 
	origin VARCHAR NOT NULL, 
	content TEXT NOT NULL, 
	content_sha256 VARCHAR NOT NULL, 
	PRIMARY KEY (request_id)
);
INSERT INTO "ledger_requests" VALUES('r0','awaiting_promotion','2026-03-01T12:00:00.000000+00:00','2026-03-31T12:00:00.000000+00:00','20261125-212018-03daa9','a.jsonl:1','{"request_id":"r0","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":1}','e24f00b400a2787d95b58b3d76b5b76099754a8bff6860e84662ef2fa714c43d');
INSERT INTO "ledger_requests" VALUES('r1','awaiting_promotion','2026-03-01T12:00:00.000000+00:00','2026-03-31T12:00:00.000000+00:00','20261125-212018-03daa9','a.jsonl:2','{"request_id":"r1","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":2}','f41c1fe224b308deb6582ce2ef12cfd4b79c1675ba9a73e7d195393064cbaf60');
INSERT INTO "ledger_requests" VALUES('r2','failed','2026-03-01T12:00:00.000000+00:00','2026-03-31T12:00:00.000000+00:00','20261125-212018-6ab457','a.jsonl:3','{"request_id":"r2","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":3}','384f884adbfc0fdf2de1df2b705d3d097109d9f49ba346203ff7d297609b43cf');
INSERT INTO "ledger_requests" VALUES('r3','failed','2026-03-01T12:00:00.000000+00:00','2026-03-31T12:00:00.000000+00:00','20261125-212018-783d17','a.jsonl:4','{"request_id":"r3","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":4}','3ee7e8ce108af732d970c379414979c0515c13a05af8f0592cbdc4a92e70ef8e');
INSERT INTO "ledger_requests" VALUES('r4','no_match','2026-03-01T12:00:00.000000+00:00','2026-03-31T12:00:00.000000+00:00','20261125-212018-f4301c','a.jsonl:5','{"request_id":"r4","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":5}','be5e7ea8a867b2e8b8b87b939e652c7f58baee41e3985aed7e492232b55a824f');
INSERT INTO "ledger_requests" VALUES('r5','batched','2026-03-01T12:00:00.000000+00:00','2026-03-31T12:00:00.000000+00:00','20261125-212018-f4301c','a.jsonl:6','{"request_id":"r5","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":6}','68506b2d6e26a10eae3c5df66233cd1206d7437b0d0e646cb9ab69aa1fafa212');
INSERT INTO "ledger_requests" VALUES('r6','validated','2026-03-01T12:00:00.000000+00:00','2026-03-31T12:00:00.000000+00:00',NULL,'a.jsonl:7','{"request_id":"r6","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":7}','fc8b2031bbe5cd639c9aa07f8ded5e1e33004dfb4ad5dcfd69ac84bdb654e0fc');
INSERT INTO "ledger_requests" VALUES('r7','validated','2026-03-01T12:00:00.000000+00:00','2026-03-31T12:00:00.000000+00:00',NULL,'a.jsonl:8','{"request_id":"r7","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë Quux","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-31T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":8}','9de189b61972eb32d4b8f836ec8f02887317d963051d0831790a1c2c7282d741');
INSERT INTO "ledger_requests" VALUES('zoe@example.org','no_match','2026-03-01T12:00:00.000000+00:00','2026-03-02T12:00:00.000000+00:00','20261125-212018-03daa9','a.jsonl:9','{"request_id":"zoe@example.org","received_at":"2026-03-01T12:00:00Z","subject_id":"Zoë","aliases":[],"record_ids":[],"text":null,"legal_basis":null,"due_at":"2026-03-02T12:00:00Z","source":null,"reference":"","file":"a.jsonl","row":9}','20256592058e3b97e614e21c93640bf867460f699dd584feeb30cc2146e018a1');
CREATE TABLE ledger_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "ledger_schema" VALUES(1);
CREATE INDEX ix_ledger_requests_batch_id ON ledger_requests (batch_id);
CREATE INDEX ix_ledger_requests_state ON ledger_requests (state);
CREATE INDEX ix_ledger_audit_request_id ON ledger_audit (request_id);
CREATE TRIGGER ledger_audit_no_UPDATE BEFORE UPDATE ON ledger_audit BEGIN SELECT RAISE(ABORT, 'ledger_audit is append-only'); END;
CREATE TRIGGER ledger_audit_no_DELETE BEFORE DELETE ON ledger_audit BEGIN SELECT RAISE(ABORT, 'ledger_audit is append-only'); END;
COMMIT;
