BEGIN TRANSACTION;
CREATE TABLE jobs (
        key TEXT PRIMARY KEY, identity TEXT NOT NULL, digest TEXT NOT NULL, rule TEXT NOT NULL,
        class TEXT NOT NULL, job_id TEXT NOT NULL DEFAULT '', over INTEGER NOT NULL DEFAULT 0
    , past TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
INSERT INTO "jobs" VALUES('000001','identity-000001','digest-000001','map','[2, 1000, 500, 0, 600, "compute/4c"]','7.0',1,'{"rule": "map", "job_class": "[2, 1000, 500, 0, 600, \"compute/4c\"]", "succeeded": true, "busy_s": 90.0, "started_s": 1795953700.0, "ended_s": 1795953790.0, "pilot": "osgpilot-20261129-120000-0a1b2c-1", "allocation_id": "101"}');
INSERT INTO "jobs" VALUES('000002','identity-000002','digest-000002','map','[2, 1000, 500, 0, 600, "compute/4c"]','7.1',1,'{"rule": "map", "job_class": "[2, 1000, 500, 0, 600, \"compute/4c\"]", "succeeded": false, "busy_s": 30.0, "started_s": 1795953700.0, "ended_s": 1795953730.0, "pilot": "osgpilot-20261129-120000-0a1b2c-1", "allocation_id": "101"}');
INSERT INTO "jobs" VALUES('000003','identity-000003','digest-000003','map','[2, 1000, 500, 0, 600, "compute/4c"]','7.2',0,'');
INSERT INTO "jobs" VALUES('000004','identity-000004','digest-000004','merge','[2, 1000, 500, 0, 600, "compute/4c"]','',0,'');
CREATE TABLE pilots (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "pilots" VALUES('osgpilot-20261129-120000-0a1b2c-1','{"name": "osgpilot-20261129-120000-0a1b2c-1", "shape": [4, 3800, 0, 0], "state": "ready", "offer": "compute/4c", "walltime_s": 3600, "allocation_id": "101", "asked_s": 1795953601.0, "since_s": 1795953680.0, "started_s": 1795953620.0, "ends_s": 1795957220.0, "ended_s": null, "unneeded_since_s": null, "node": "n1", "pending_reason": "", "failure": "", "absent_looks": 0}');
CREATE TABLE run (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        run TEXT NOT NULL, owner TEXT NOT NULL, project TEXT NOT NULL,
        closed INTEGER NOT NULL DEFAULT 0, holder TEXT NOT NULL DEFAULT ''
    , place TEXT NOT NULL DEFAULT '', scope TEXT NOT NULL DEFAULT 'workflow', generation INTEGER NOT NULL DEFAULT 0);
INSERT INTO "run" VALUES(1,'20261129-120000-0a1b2c','alice','MyProject',0,'{"host": "login1", "boot": "11111111-2222-4333-8444-555555555555", "space": "4026531836", "pid": 4711, "started": "12345", "since_s": 1795953600.0}','{"host": "login1", "schedd": "", "collector": "", "ssh": "", "folder": ""}','workflow',1);
CREATE INDEX jobs_by_identity ON jobs (identity);
COMMIT;
PRAGMA user_version = 4;
